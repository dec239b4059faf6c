"""The objects a toy world chooses from: what each is made of, and what its parts are called.

Every object stands on z = 0 of its own frame, is about 0.4 across, and faces -y.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scene.toy_world_materials import PALETTE, Material
from scene.toy_world_shapes import Ellipsoid, Number, Polytope, Primitive, Revolution, Tube, rotation

BOX = np.float32([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
PATTERNS = ("plain", "striped", "checkered", "dotted", "zigzag")
VIVID = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "turquoise")
ANY = tuple(PALETTE)


@dataclass(frozen=True)
class Part:
    """Primitives of one material. `name` is None for the bulk of the object, which is not asked for by itself."""

    name: str | None
    shape: str
    material: Material
    primitives: tuple[Primitive, ...]


@dataclass(frozen=True)
class Kind:
    """A sort of object: its word, the looks it may have, and how it is built from a look."""

    name: str
    shape: str
    colors: tuple[str, ...]
    textures: tuple[str, ...]
    build: Callable[[Material, np.random.Generator], list[Part]]


def ball(x: Number, y: Number, z: Number, rx: Number, ry: Number | None = None, rz: Number | None = None) -> Ellipsoid:
    """Ellipsoid with the given centre and half axes."""
    return Ellipsoid(np.diag(np.float32([rx, ry or rx, rz or rx])), np.float32([x, y, z]))


def box(x: Number, y: Number, z: Number, hx: Number, hy: Number, hz: Number, turn: Number = 0.0) -> Polytope:
    """Cuboid with the given centre and half edges, turned about z."""
    linear = rotation("z", turn) @ np.diag(np.float32([hx, hy, hz]))
    return Polytope(linear, np.float32([x, y, z]), BOX, np.ones(6, np.float32))


def turned(*profile: tuple[Number, Number], at: tuple[Number, Number, Number] = (0, 0, 0), tilt: Number = 0.0) -> Revolution:
    """Body turned about z from (radius, height) rows, tilted about y, moved to `at`."""
    return Revolution(rotation("y", tilt), np.float32(at), np.float32(profile))


def rod(
    start: tuple[Number, Number, Number], end: tuple[Number, Number, Number], radius: Number, tip: Number | None = None
) -> Tube:
    """Straight round rod between two points, `tip` thick at its end."""
    a, b = np.float32(start), np.float32(end)
    half = float(np.linalg.norm(b - a) / 2)
    x = (b - a) / (2 * half)
    y = np.cross(x, [0.3, 0.5, 0.9] if abs(x[2]) < 0.9 else [1, 0, 0])
    y /= np.linalg.norm(y)
    linear = np.float32(np.stack([x, y, np.cross(x, y)], 1) * half)
    return Tube(linear, (a + b) / 2, (radius / half, (tip or radius) / half), straight=True)


def arc(
    at: tuple[Number, Number, Number], radius: Number, thickness: Number, half_angle: Number = 180.0, upright: bool = True
) -> Tube:
    """Arc of a ring about `at`, bulging to +x; upright in the xz plane or lying in the xy plane."""
    turn = rotation("x", 90) if upright else np.eye(3, dtype=np.float32)
    return Tube(turn * np.float32(radius), np.float32(at), (thickness / radius, thickness / radius), half_angle)


def prism(x: Number, y: Number, z: Number, hx: Number, hy: Number, height: Number) -> Polytope:
    """Gabled roof: ridge along y, eaves at `z`, ridge at `z + height`."""
    slope = np.float32(np.hypot(1, 1))
    faces = np.float32([[1 / slope, 0, 1 / slope], [-1 / slope, 0, 1 / slope], [0, 1, 0], [0, -1, 0], [0, 0, -1]])
    return Polytope(
        np.diag(np.float32([hx, hy, height])), np.float32([x, y, z]), faces, np.float32([1 / slope, 1 / slope, 1, 1, 0])
    )


def _other(rng: np.random.Generator, avoid: str, choices: tuple[str, ...] = VIVID) -> Material:
    return Material(str(rng.choice([c for c in choices if c != avoid])), gloss=0.12)


def _mug(look: Material, rng: np.random.Generator) -> list[Part]:
    wall = turned((0, 0), (0.135, 0), (0.15, 0.02), (0.15, 0.32), (0.13, 0.32), (0.13, 0.03), (0, 0.03))
    return [
        Part(None, "cylinder", look, (wall,)),
        Part("handle", "ring", _other(rng, look.color, (*VIVID, "white")), (arc((0.15, 0, 0.165), 0.085, 0.024, 100),)),
    ]


def _vase(look: Material, rng: np.random.Generator) -> list[Part]:
    belly, neck = rng.uniform(0.15, 0.19), rng.uniform(0.055, 0.08)
    z = np.linspace(0, 0.44, 16)
    r = neck + (belly - neck) * np.exp(-(((z - 0.16) / 0.115) ** 2)) + 0.035 * np.clip((z - 0.36) / 0.08, 0, 1) ** 2
    outer = [(0, 0), *zip(r, z, strict=True)]
    return [Part(None, "curved", look, (turned(*outer, (r[-1] - 0.02, 0.44), (neck - 0.02, 0.3), (0, 0.3)),))]


def _bowl(look: Material, rng: np.random.Generator) -> list[Part]:
    a = np.radians(np.linspace(12, 82, 8))
    outer = [(0.24 * np.sin(t), 0.23 - 0.23 * np.cos(t)) for t in a]
    inner = [(0.215 * np.sin(t), 0.235 - 0.205 * np.cos(t)) for t in a[::-1]]
    fruit = _other(rng, look.color)
    balls = tuple(ball(0.095 * np.cos(t), 0.095 * np.sin(t), 0.15, 0.085) for t in np.radians([20, 140, 260]))
    return [
        Part(None, "round", look, (turned((0, 0), (0.09, 0), *outer, *inner, (0, 0.03)),)),
        Part("fruit", "sphere", fruit, balls),
    ]


def _ball(look: Material, rng: np.random.Generator) -> list[Part]:
    r = float(rng.uniform(0.17, 0.21))
    return [Part(None, "sphere", look, (ball(0, 0, r, r),))]


def _cube(look: Material, rng: np.random.Generator) -> list[Part]:
    h = float(rng.uniform(0.14, 0.17))
    return [Part(None, "box", look, (box(0, 0, h, h, h, h),))]


def _book(look: Material, rng: np.random.Generator) -> list[Part]:
    pages = Material("white", "striped", 60, gloss=0.0)
    covers = (box(0, 0, 0.012, 0.2, 0.27, 0.012), box(0, 0, 0.128, 0.2, 0.27, 0.012), box(-0.188, 0, 0.07, 0.012, 0.27, 0.07))
    return [Part(None, "box", look, covers), Part("pages", "box", pages, (box(0.005, 0, 0.07, 0.182, 0.255, 0.047),))]


def _pot(look: Material, rng: np.random.Generator) -> list[Part]:
    dome = [(0.215 * np.cos(t), 0.25 + 0.075 * np.sin(t)) for t in np.radians(np.linspace(0, 88, 8))]
    lid = _other(rng, look.color, (*VIVID, "gray", "white"))
    body = turned((0, 0), (0.19, 0), (0.21, 0.02), (0.21, 0.24), (0.225, 0.25), (0.2, 0.25))
    grips = (
        arc((0.2, 0, 0.18), 0.055, 0.018, 100, upright=False),
        _mirrored(arc((0.2, 0, 0.18), 0.055, 0.018, 100, upright=False)),
    )
    return [
        Part(None, "cylinder", look, (body,)),
        Part("handles", "ring", Material("black"), grips),
        Part("lid", "dome", lid, (turned((0.2, 0.25), *dome, (0, 0.325)),)),
        Part("knob", "sphere", Material("black"), (ball(0, 0, 0.345, 0.036),)),
    ]


def _mirrored(primitive: Primitive) -> Primitive:
    return primitive.placed(rotation("z", 180), np.zeros(3, np.float32))


def _snowman(look: Material, rng: np.random.Generator) -> list[Part]:
    scarf, hat = _other(rng, "white"), _other(rng, "white", ("black", "red", "blue", "green", "purple"))
    eyes = tuple(ball(x, -0.094, 0.487, 0.017) for x in (-0.042, 0.042))
    buttons = tuple(ball(0, y, z, 0.019) for y, z in ((-0.142, 0.33), (-0.146, 0.27)))
    brim = turned((0, 0.53), (0.125, 0.53), (0.125, 0.55), (0.08, 0.55), (0.085, 0.68), (0, 0.68))
    return [
        Part(None, "round", look, (ball(0, 0, 0.15, 0.185, rz=0.165), ball(0, 0, 0.3, 0.14), ball(0, 0, 0.455, 0.105))),
        Part(
            "scarf",
            "ring",
            scarf,
            (arc((0, 0, 0.385), 0.098, 0.033, upright=False), rod((0.05, -0.12, 0.38), (0.075, -0.155, 0.25), 0.03)),
        ),
        Part("hat", "cylinder", hat, (brim,)),
        Part("nose", "cone", Material("orange"), (rod((0, -0.095, 0.455), (0, -0.2, 0.445), 0.022, 0.006),)),
        Part("buttons", "sphere", Material("black"), (*eyes, *buttons)),
    ]


def _bottle(look: Material, rng: np.random.Generator) -> list[Part]:
    body = turned((0, 0), (0.1, 0), (0.115, 0.02), (0.115, 0.26), (0.1, 0.31), (0.055, 0.37), (0.042, 0.41), (0.042, 0.46))
    return [
        Part(None, "bottle", look, (body,)),
        Part("cap", "cylinder", _other(rng, look.color), (turned((0.052, 0.45), (0.052, 0.52), (0.046, 0.527), (0, 0.527)),)),
    ]


def _lamp(look: Material, rng: np.random.Generator) -> list[Part]:
    foot = Material(str(rng.choice(["brown", "gray", "black"])), "plain")
    stand = turned((0, 0), (0.12, 0), (0.12, 0.02), (0.03, 0.045), (0.02, 0.08), (0.02, 0.4), (0, 0.4))
    return [
        Part("base", "round", foot, (stand,)),
        Part("shade", "cone", look, (turned((0.205, 0.32), (0.12, 0.58), (0.11, 0.58), (0.195, 0.32)),)),
    ]


def _candle(look: Material, rng: np.random.Generator) -> list[Part]:
    holder = _other(rng, look.color, ("brown", "gray", "black", "turquoise"))
    flame = [(0, 0.43), (0.018, 0.437), (0.03, 0.46), (0.026, 0.485), (0.012, 0.515), (0, 0.535)]
    return [
        Part(None, "cylinder", look, (turned((0.075, 0.04), (0.075, 0.41), (0.065, 0.42), (0, 0.42)),)),
        Part("holder", "round", holder, (turned((0, 0), (0.15, 0), (0.17, 0.05), (0.16, 0.05), (0.12, 0.03), (0, 0.03)),)),
        Part("flame", "drop", Material("yellow", tint=(1.6, 1.5, 1.2)), (turned(*flame),)),
    ]


def _mushroom(look: Material, rng: np.random.Generator) -> list[Part]:
    cap = [(0.22 * np.cos(t), 0.2 + 0.17 * np.sin(t)) for t in np.radians(np.linspace(-12, 90, 12))]
    return [
        Part("stem", "cylinder", Material("white"), (turned((0, 0), (0.085, 0), (0.07, 0.08), (0.06, 0.2)),)),
        Part("cap", "dome", look, (turned((0, 0.2), (0.1, 0.19), *cap),)),
    ]


def _cone(look: Material, rng: np.random.Generator) -> list[Part]:
    base = _other(rng, look.color, ("black", "gray", "white"))
    return [
        Part(None, "cone", look, (turned((0.15, 0.03), (0.025, 0.46), (0, 0.46)),)),
        Part("base", "box", base, (box(0, 0, 0.017, 0.19, 0.19, 0.017),)),
    ]


def _cactus(look: Material, rng: np.random.Generator) -> list[Part]:
    pot = Material(str(rng.choice(["orange", "brown", "white", "red", "blue"])))
    flower = Material(str(rng.choice(["pink", "yellow", "red"])))
    stems = (
        rod((0, 0, 0.14), (0, 0, 0.47), 0.085),
        rod((0.06, 0, 0.3), (0.16, 0, 0.33), 0.045),
        rod((0.16, 0, 0.33), (0.17, 0, 0.43), 0.045),
    )
    petals = tuple(ball(0.04 * np.cos(t), 0.04 * np.sin(t), 0.565, 0.032) for t in np.radians(np.arange(0, 360, 72)))
    return [
        Part(None, "column", look, stems),
        Part("pot", "cylinder", pot, (turned((0, 0), (0.1, 0), (0.14, 0.16), (0.155, 0.16), (0.155, 0.19), (0, 0.18)),)),
        Part("flower", "round", flower, petals),
    ]


def _teapot(look: Material, rng: np.random.Generator) -> list[Part]:
    a = np.radians(np.linspace(-65, 62, 14))
    body = [(0.185 * np.cos(t), 0.155 + 0.155 * np.sin(t)) for t in a]
    lid = _other(rng, look.color, (*VIVID, "white", "black"))
    dome = [(0.095 * np.cos(t), 0.288 + 0.045 * np.sin(t)) for t in np.radians(np.linspace(0, 88, 6))]
    return [
        Part(None, "round", look, (turned((0, 0.01), *body, (0, 0.3)),)),
        Part("spout", "tube", look, (rod((0.13, 0, 0.12), (0.285, 0, 0.27), 0.048, 0.026),)),
        Part("handle", "ring", lid, (_mirrored(arc((0.17, 0, 0.165), 0.095, 0.022, 105)),)),
        Part("lid", "dome", lid, (turned((0, 0.285), *dome), ball(0, 0, 0.345, 0.03))),
    ]


def _gift(look: Material, rng: np.random.Generator) -> list[Part]:
    ribbon = _other(rng, look.color, ("red", "yellow", "blue", "green", "purple", "pink"))
    bands = (box(0, 0, 0.1305, 0.183, 0.03, 0.1325), box(0, 0, 0.1305, 0.03, 0.183, 0.1325))
    bows = (arc((0.02, 0, 0.3), 0.045, 0.018, 150), _mirrored(arc((0.02, 0, 0.3), 0.045, 0.018, 150)))
    return [Part(None, "box", look, (box(0, 0, 0.13, 0.18, 0.18, 0.13),)), Part("ribbon", "band", ribbon, (*bands, *bows))]


def _donut(look: Material, rng: np.random.Generator) -> list[Part]:
    dough = Material("brown", tint=(2.0, 1.9, 1.5), gloss=0.05)
    a = np.radians(np.linspace(-20, 200, 20))
    icing = [(0.135 + 0.092 * np.cos(t), 0.085 + 0.09 * np.sin(t)) for t in a]
    ring = turned(*[(0.135 + 0.083 * np.cos(t), 0.083 + 0.083 * np.sin(t)) for t in np.radians(np.linspace(-180, 180, 25))])
    return [Part("dough", "ring", dough, (ring,)), Part("icing", "ring", look, (turned(*icing),))]


def _house(look: Material, rng: np.random.Generator) -> list[Part]:
    roof = _other(rng, look.color, ("red", "blue", "brown", "black", "green"))
    door = _other(rng, look.color, tuple(c for c in ("brown", "white", "blue", "yellow") if c != roof.color))
    return [
        Part(None, "box", look, (box(0, 0, 0.13, 0.17, 0.17, 0.13),)),
        Part("roof", "wedge", roof, (prism(0, 0, 0.26, 0.21, 0.2, 0.18),)),
        Part("door", "box", door, (box(0, -0.17, 0.085, 0.05, 0.012, 0.085),)),
    ]


def _rocket(look: Material, rng: np.random.Generator) -> list[Part]:
    tip, fins = _other(rng, look.color), _other(rng, look.color, ("red", "blue", "orange", "gray", "black"))
    body = turned((0, 0.06), (0.085, 0.06), (0.11, 0.16), (0.11, 0.36))
    blades = tuple(
        box(0.12 * np.cos(t), 0.12 * np.sin(t), 0.095, 0.075, 0.014, 0.095, np.degrees(t)) for t in np.radians([30, 150, 270])
    )
    return [
        Part(None, "cylinder", look, (body,)),
        Part("nose", "cone", tip, (turned((0.11, 0.36), (0.09, 0.44), (0.05, 0.52), (0, 0.57)),)),
        Part("fins", "box", fins, blades),
    ]


def _apple(look: Material, rng: np.random.Generator) -> list[Part]:
    a = np.radians(np.linspace(-90, 90, 22))
    body = [
        (
            max(0.0, 0.165 * np.cos(t) * (1 + 0.12 * np.sin(t))),
            0.15 + 0.15 * np.sin(t) - 0.05 * np.exp(-(((t - 1.57) / 0.35) ** 2)),
        )
        for t in a
    ]
    leaf = ball(0.07, 0, 0.33, 0.075, 0.038, 0.012)
    return [
        Part(None, "sphere", look, (turned(*body),)),
        Part("stem", "rod", Material("brown"), (rod((0, 0, 0.24), (0.015, 0, 0.34), 0.013),)),
        Part("leaf", "flat", Material("green" if look.color != "green" else "brown"), (leaf,)),
    ]


def _banana(look: Material, rng: np.random.Generator) -> list[Part]:
    fruit = Tube(np.eye(3, dtype=np.float32) * np.float32(0.24), np.float32([-0.15, 0, 0.062]), (0.2, 0.26), 52)
    return [Part(None, "curved", look, (fruit,))]


def _tree(look: Material, rng: np.random.Generator) -> list[Part]:
    tiers = tuple(turned((0, z), (r, z), (0, z + 0.24)) for z, r in ((0.14, 0.2), (0.27, 0.165), (0.4, 0.12)))
    star = Material("yellow", tint=(1.3, 1.2, 1.0))
    return [
        Part("trunk", "cylinder", Material("brown", "wooden"), (turned((0, 0), (0.055, 0), (0.05, 0.15)),)),
        Part("needles", "cone", look, tiers),
        Part("bauble", "sphere", star, (ball(0, 0, 0.655, 0.042),)),
    ]


def _duck(look: Material, rng: np.random.Generator) -> list[Part]:
    wings = tuple(ball(0.02, y, 0.15, 0.1, 0.03, 0.06) for y in (-0.125, 0.125))
    wing = _other(rng, look.color, ("white", "orange", "brown", "blue"))
    return [
        Part(
            None,
            "round",
            look,
            (ball(0, 0, 0.125, 0.19, 0.135, 0.125), ball(-0.12, 0, 0.29, 0.1), ball(0.17, 0, 0.19, 0.06, 0.05, 0.045)),
        ),
        Part(
            "beak",
            "cone",
            Material("orange" if look.color != "orange" else "red"),
            (ball(-0.225, 0, 0.275, 0.055, 0.045, 0.022),),
        ),
        Part("wings", "flat", wing, wings),
        Part("eyes", "sphere", Material("black"), (ball(-0.185, -0.065, 0.325, 0.018), ball(-0.185, 0.065, 0.325, 0.018))),
    ]


def _drum(look: Material, rng: np.random.Generator) -> list[Part]:
    rims = tuple(turned((0.19, z), (0.205, z), (0.205, z + 0.035), (0.19, z + 0.035), (0.19, z)) for z in (0.0, 0.245))
    skin = turned((0.19, 0.27), (0, 0.27))
    return [
        Part(None, "cylinder", look, (turned((0.19, 0.03), (0.19, 0.25)),)),
        Part("rims", "ring", _other(rng, look.color, ("brown", "black", "yellow", "gray")), rims),
        Part("skin", "disc", Material("white"), (skin,)),
    ]


def _hat(look: Material, rng: np.random.Generator) -> list[Part]:
    band = _other(rng, look.color, (*VIVID, "black", "white"))
    crown = [(0.14, 0.02), (0.13, 0.17), (0.11, 0.2), (0.0, 0.205)]
    return [
        Part(None, "round", look, (turned((0, 0), (0.27, 0), (0.27, 0.02), *crown),)),
        Part("band", "ring", band, (turned((0.143, 0.02), (0.1395, 0.075), (0.13, 0.075)),)),
    ]


def _pyramid(look: Material, rng: np.random.Generator) -> list[Part]:
    faces = np.float32([[2, 0, 1], [-2, 0, 1], [0, 2, 1], [0, -2, 1], [0, 0, -np.sqrt(5)]]) / np.float32(np.sqrt(5))
    body = Polytope(
        np.eye(3, dtype=np.float32) * np.float32(0.19),
        np.float32([0, 0, 0.19]),
        faces,
        np.float32([1, 1, 1, 1, np.sqrt(5)]) / np.float32(np.sqrt(5)),
    )
    return [Part(None, "pyramid", look, (body,))]


CERAMIC = ("red", "blue", "green", "yellow", "purple", "turquoise", "white", "orange", "pink", "black")
KINDS = (
    Kind("mug", "cylinder", CERAMIC, PATTERNS, _mug),
    Kind("vase", "curved", CERAMIC, (*PATTERNS, "marble"), _vase),
    Kind("bowl", "round", CERAMIC, ("plain", "striped", "wooden", "marble", "dotted"), _bowl),
    Kind("ball", "sphere", VIVID, PATTERNS, _ball),
    Kind("cube", "box", ANY, (*PATTERNS, "wooden", "marble"), _cube),
    Kind("book", "box", ("red", "blue", "green", "purple", "black", "orange", "brown"), ("plain", "striped", "dotted"), _book),
    Kind("pot", "cylinder", ("red", "gray", "blue", "green", "orange", "turquoise"), ("plain", "dotted", "striped"), _pot),
    Kind("snowman", "round", ("white",), ("plain",), _snowman),
    Kind("bottle", "bottle", ("green", "blue", "red", "purple", "turquoise", "brown"), ("plain", "striped", "zigzag"), _bottle),
    Kind("lamp", "cone", (*VIVID, "white"), PATTERNS, _lamp),
    Kind("candle", "cylinder", ("white", "red", "purple", "pink", "blue", "green"), ("plain", "striped", "marble"), _candle),
    Kind("mushroom", "dome", ("red", "brown", "orange", "purple", "blue"), ("dotted", "plain"), _mushroom),
    Kind("cone", "cone", ("orange", "red", "blue", "green", "pink", "purple"), ("striped", "plain", "checkered"), _cone),
    Kind("cactus", "column", ("green",), ("plain", "striped"), _cactus),
    Kind("teapot", "round", CERAMIC, (*PATTERNS, "marble"), _teapot),
    Kind("gift", "box", VIVID, ("plain", "dotted", "striped", "checkered"), _gift),
    Kind("donut", "ring", ("pink", "brown", "purple", "turquoise", "white", "green"), ("plain", "dotted", "striped"), _donut),
    Kind("house", "box", ("white", "yellow", "pink", "blue", "gray", "orange"), ("plain", "wooden", "checkered"), _house),
    Kind("rocket", "cylinder", ("white", "gray", "red", "yellow", "turquoise"), ("plain", "striped", "checkered"), _rocket),
    Kind("apple", "sphere", ("red", "green", "yellow"), ("plain",), _apple),
    Kind("banana", "curved", ("yellow",), ("plain",), _banana),
    Kind("tree", "cone", ("green", "turquoise", "white"), ("plain", "striped"), _tree),
    Kind("duck", "round", ("yellow", "white", "blue", "pink", "green"), ("plain", "dotted"), _duck),
    Kind("drum", "cylinder", ("red", "blue", "green", "yellow", "purple"), ("zigzag", "striped", "checkered", "plain"), _drum),
    Kind("hat", "round", ("brown", "black", "red", "blue", "purple", "gray"), ("plain", "checkered"), _hat),
    Kind("pyramid", "pyramid", ANY, (*PATTERNS, "marble", "wooden"), _pyramid),
)

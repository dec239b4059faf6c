"""Toys, plants and fruit of the toy world, each built from a material. They stand on z = 0, are about 0.4 across, and face -y."""

import numpy as np

from toy_world.materials import Material
from toy_world.parts import Part, arc, ball, box, other, prism, rod, turned
from toy_world.shapes import Polytope
from toy_world.turned import Tube


def make_ball(look: Material, rng: np.random.Generator) -> list[Part]:
    """Ball."""
    r = float(rng.uniform(0.17, 0.21))
    return [Part(None, "sphere", look, (ball(0, 0, r, r),))]


def make_cube(look: Material, rng: np.random.Generator) -> list[Part]:
    """Cube."""
    h = float(rng.uniform(0.14, 0.17))
    return [Part(None, "box", look, (box(0, 0, h, h, h, h),))]


def make_snowman(look: Material, rng: np.random.Generator) -> list[Part]:
    """Three balls with scarf, hat, nose and buttons."""
    scarf, hat = other(rng, "white"), other(rng, "white", ("black", "red", "blue", "green", "purple"))
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


def make_mushroom(look: Material, rng: np.random.Generator) -> list[Part]:
    """Cap on a stem."""
    cap = [(0.22 * np.cos(t), 0.2 + 0.17 * np.sin(t)) for t in np.radians(np.linspace(-12, 90, 12))]
    return [
        Part("stem", "cylinder", Material("white"), (turned((0, 0), (0.085, 0), (0.07, 0.08), (0.06, 0.2)),)),
        Part(None, "dome", look, (turned((0, 0.2), (0.1, 0.19), *cap),)),
    ]


def make_cone(look: Material, rng: np.random.Generator) -> list[Part]:
    """Cone on a square base."""
    base = other(rng, look.color, ("black", "gray", "white"))
    return [
        Part(None, "cone", look, (turned((0.15, 0.03), (0.025, 0.46), (0, 0.46)),)),
        Part("base", "box", base, (box(0, 0, 0.017, 0.19, 0.19, 0.017),)),
    ]


def make_cactus(look: Material, rng: np.random.Generator) -> list[Part]:
    """Two stems in a pot, with a flower."""
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


def make_donut(look: Material, rng: np.random.Generator) -> list[Part]:
    """Ring of dough under icing."""
    dough = Material("brown", tint=(2.0, 1.9, 1.5), gloss=0.05)
    a = np.radians(np.linspace(-20, 200, 20))
    icing = [(0.135 + 0.092 * np.cos(t), 0.085 + 0.09 * np.sin(t)) for t in a]
    ring = turned(*[(0.135 + 0.083 * np.cos(t), 0.083 + 0.083 * np.sin(t)) for t in np.radians(np.linspace(-180, 180, 25))])
    return [Part("dough", "ring", dough, (ring,)), Part(None, "ring", look, (turned(*icing),))]


def make_house(look: Material, rng: np.random.Generator) -> list[Part]:
    """Walls, gabled roof and door."""
    roof = other(rng, look.color, ("red", "blue", "brown", "black", "green"))
    door = other(rng, look.color, tuple(c for c in ("brown", "white", "blue", "yellow") if c != roof.color))
    return [
        Part(None, "box", look, (box(0, 0, 0.13, 0.17, 0.17, 0.13),)),
        Part("roof", "wedge", roof, (prism(0, 0, 0.26, 0.21, 0.2, 0.18),)),
        Part("door", "box", door, (box(0, -0.17, 0.085, 0.05, 0.012, 0.085),)),
    ]


def make_rocket(look: Material, rng: np.random.Generator) -> list[Part]:
    """Body with nose and three fins."""
    tip, fins = other(rng, look.color), other(rng, look.color, ("red", "blue", "orange", "gray", "black"))
    body = turned((0, 0.06), (0.085, 0.06), (0.11, 0.16), (0.11, 0.36))
    blades = tuple(
        box(0.12 * np.cos(t), 0.12 * np.sin(t), 0.095, 0.075, 0.014, 0.095, np.degrees(t)) for t in np.radians([30, 150, 270])
    )
    return [
        Part(None, "cylinder", look, (body,)),
        Part("nose", "cone", tip, (turned((0.11, 0.36), (0.09, 0.44), (0.05, 0.52), (0, 0.57)),)),
        Part("fins", "box", fins, blades),
    ]


def make_apple(look: Material, rng: np.random.Generator) -> list[Part]:
    """Apple with stem and leaf."""
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


def make_banana(look: Material, rng: np.random.Generator) -> list[Part]:
    """Bent fruit."""
    fruit = Tube(np.eye(3, dtype=np.float32) * np.float32(0.24), np.float32([-0.15, 0, 0.062]), (0.2, 0.26), 52)
    return [Part(None, "curved", look, (fruit,))]


def make_tree(look: Material, rng: np.random.Generator) -> list[Part]:
    """Three tiers of needles on a trunk, with a bauble."""
    tiers = tuple(turned((0, z), (r, z), (0, z + 0.24)) for z, r in ((0.14, 0.2), (0.27, 0.165), (0.4, 0.12)))
    star = Material("yellow", tint=(1.3, 1.2, 1.0))
    return [
        Part("trunk", "cylinder", Material("brown", "wooden"), (turned((0, 0), (0.055, 0), (0.05, 0.15)),)),
        Part(None, "cone", look, tiers),
        Part("bauble", "sphere", star, (ball(0, 0, 0.655, 0.042),)),
    ]


def make_duck(look: Material, rng: np.random.Generator) -> list[Part]:
    """Body and head with beak, wings and eyes."""
    wings = tuple(ball(0.02, y, 0.15, 0.1, 0.03, 0.06) for y in (-0.125, 0.125))
    wing = other(rng, look.color, ("white", "orange", "brown", "blue"))
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


def make_drum(look: Material, rng: np.random.Generator) -> list[Part]:
    """Shell between two rims, with a skin."""
    rims = tuple(turned((0.19, z), (0.205, z), (0.205, z + 0.035), (0.19, z + 0.035), (0.19, z)) for z in (0.0, 0.245))
    skin = turned((0.19, 0.27), (0, 0.27))
    return [
        Part(None, "cylinder", look, (turned((0.19, 0.03), (0.19, 0.25)),)),
        Part("rims", "ring", other(rng, look.color, ("brown", "black", "yellow", "gray")), rims),
        Part("skin", "disc", Material("white"), (skin,)),
    ]


def make_pyramid(look: Material, rng: np.random.Generator) -> list[Part]:
    """Square pyramid."""
    faces = np.float32([[2, 0, 1], [-2, 0, 1], [0, 2, 1], [0, -2, 1], [0, 0, -np.sqrt(5)]]) / np.float32(np.sqrt(5))
    body = Polytope(
        np.eye(3, dtype=np.float32) * np.float32(0.19),
        np.float32([0, 0, 0.19]),
        faces,
        np.float32([1, 1, 1, 1, np.sqrt(5)]) / np.float32(np.sqrt(5)),
    )
    return [Part(None, "pyramid", look, (body,))]

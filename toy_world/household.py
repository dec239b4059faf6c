"""Household objects of the toy world, each built from a material. They stand on z = 0, are about 0.4 across, and face -y."""

import numpy as np

from toy_world.materials import Material
from toy_world.parts import VIVID, Part, arc, ball, box, mirrored, other, rod, turned


def make_mug(look: Material, rng: np.random.Generator) -> list[Part]:
    """Open cylinder with a handle of another colour."""
    wall = turned((0, 0), (0.135, 0), (0.15, 0.02), (0.15, 0.32), (0.13, 0.32), (0.13, 0.03), (0, 0.03))
    return [
        Part(None, "cylinder", look, (wall,)),
        Part("handle", "ring", other(rng, look.color, (*VIVID, "white")), (arc((0.15, 0, 0.165), 0.085, 0.024, 100),)),
    ]


def make_vase(look: Material, rng: np.random.Generator) -> list[Part]:
    """Belly and neck of varying width."""
    belly, neck = rng.uniform(0.15, 0.19), rng.uniform(0.055, 0.08)
    z = np.linspace(0, 0.44, 16)
    r = neck + (belly - neck) * np.exp(-(((z - 0.16) / 0.115) ** 2)) + 0.035 * np.clip((z - 0.36) / 0.08, 0, 1) ** 2
    outer = [(0, 0), *zip(r, z, strict=True)]
    return [Part(None, "curved", look, (turned(*outer, (r[-1] - 0.02, 0.44), (neck - 0.02, 0.3), (0, 0.3)),))]


def make_bowl(look: Material, rng: np.random.Generator) -> list[Part]:
    """Bowl with three fruits."""
    a = np.radians(np.linspace(12, 82, 8))
    outer = [(0.24 * np.sin(t), 0.23 - 0.23 * np.cos(t)) for t in a]
    inner = [(0.215 * np.sin(t), 0.235 - 0.205 * np.cos(t)) for t in a[::-1]]
    fruit = other(rng, look.color)
    balls = tuple(ball(0.095 * np.cos(t), 0.095 * np.sin(t), 0.15, 0.085) for t in np.radians([20, 140, 260]))
    return [
        Part(None, "round", look, (turned((0, 0), (0.09, 0), *outer, *inner, (0, 0.03)),)),
        Part("fruit", "sphere", fruit, balls),
    ]


def make_pot(look: Material, rng: np.random.Generator) -> list[Part]:
    """Pot with two handles, a lid and its knob."""
    dome = [(0.215 * np.cos(t), 0.25 + 0.075 * np.sin(t)) for t in np.radians(np.linspace(0, 88, 8))]
    lid = other(rng, look.color, (*VIVID, "gray", "white"))
    body = turned((0, 0), (0.19, 0), (0.21, 0.02), (0.21, 0.24), (0.225, 0.25), (0.2, 0.25))
    grips = (
        arc((0.2, 0, 0.18), 0.055, 0.018, 100, upright=False),
        mirrored(arc((0.2, 0, 0.18), 0.055, 0.018, 100, upright=False)),
    )
    return [
        Part(None, "cylinder", look, (body,)),
        Part("handles", "ring", Material("black"), grips),
        Part("lid", "dome", lid, (turned((0.2, 0.25), *dome, (0, 0.325)),)),
        Part("knob", "sphere", Material("black"), (ball(0, 0, 0.345, 0.036),)),
    ]


def make_bottle(look: Material, rng: np.random.Generator) -> list[Part]:
    """Bottle with a cap."""
    body = turned((0, 0), (0.1, 0), (0.115, 0.02), (0.115, 0.26), (0.1, 0.31), (0.055, 0.37), (0.042, 0.41), (0.042, 0.46))
    return [
        Part(None, "bottle", look, (body,)),
        Part("cap", "cylinder", other(rng, look.color), (turned((0.052, 0.45), (0.052, 0.52), (0.046, 0.527), (0, 0.527)),)),
    ]


def make_teapot(look: Material, rng: np.random.Generator) -> list[Part]:
    """Round body with spout, handle and lid."""
    a = np.radians(np.linspace(-65, 62, 14))
    body = [(0.185 * np.cos(t), 0.155 + 0.155 * np.sin(t)) for t in a]
    lid = other(rng, look.color, (*VIVID, "white", "black"))
    dome = [(0.095 * np.cos(t), 0.288 + 0.045 * np.sin(t)) for t in np.radians(np.linspace(0, 88, 6))]
    return [
        Part(None, "round", look, (turned((0, 0.01), *body, (0, 0.3)),)),
        Part("spout", "tube", look, (rod((0.13, 0, 0.12), (0.285, 0, 0.27), 0.048, 0.026),)),
        Part("handle", "ring", lid, (mirrored(arc((0.17, 0, 0.165), 0.095, 0.022, 105)),)),
        Part("lid", "dome", lid, (turned((0, 0.285), *dome), ball(0, 0, 0.345, 0.03))),
    ]


def make_lamp(look: Material, rng: np.random.Generator) -> list[Part]:
    """Table lamp: base and shade."""
    foot = Material(str(rng.choice(["brown", "gray", "black"])), "plain")
    stand = turned((0, 0), (0.12, 0), (0.12, 0.02), (0.03, 0.045), (0.02, 0.08), (0.02, 0.4), (0, 0.4))
    return [
        Part("base", "round", foot, (stand,)),
        Part(None, "cone", look, (turned((0.205, 0.32), (0.12, 0.58), (0.11, 0.58), (0.195, 0.32)),)),
    ]


def make_candle(look: Material, rng: np.random.Generator) -> list[Part]:
    """Candle on a holder, lit."""
    holder = other(rng, look.color, ("brown", "gray", "black", "turquoise"))
    flame = [(0, 0.43), (0.018, 0.437), (0.03, 0.46), (0.026, 0.485), (0.012, 0.515), (0, 0.535)]
    return [
        Part(None, "cylinder", look, (turned((0.075, 0.04), (0.075, 0.41), (0.065, 0.42), (0, 0.42)),)),
        Part("holder", "round", holder, (turned((0, 0), (0.15, 0), (0.17, 0.05), (0.16, 0.05), (0.12, 0.03), (0, 0.03)),)),
        Part("flame", "drop", Material("yellow", tint=(1.6, 1.5, 1.2)), (turned(*flame),)),
    ]


def make_book(look: Material, rng: np.random.Generator) -> list[Part]:
    """Covers around white pages."""
    pages = Material("white", "striped", 60, gloss=0.0)
    covers = (box(0, 0, 0.012, 0.2, 0.27, 0.012), box(0, 0, 0.128, 0.2, 0.27, 0.012), box(-0.188, 0, 0.07, 0.012, 0.27, 0.07))
    return [Part(None, "box", look, covers), Part("pages", "box", pages, (box(0.005, 0, 0.07, 0.182, 0.255, 0.047),))]


def make_hat(look: Material, rng: np.random.Generator) -> list[Part]:
    """Brim and crown with a band."""
    band = other(rng, look.color, (*VIVID, "black", "white"))
    crown = [(0.14, 0.02), (0.13, 0.17), (0.11, 0.2), (0.0, 0.205)]
    return [
        Part(None, "round", look, (turned((0, 0), (0.27, 0), (0.27, 0.02), *crown),)),
        Part("band", "ring", band, (turned((0.143, 0.02), (0.1395, 0.075), (0.13, 0.075)),)),
    ]


def make_gift(look: Material, rng: np.random.Generator) -> list[Part]:
    """Box with a ribbon and a bow."""
    ribbon = other(rng, look.color, ("red", "yellow", "blue", "green", "purple", "pink"))
    bands = (box(0, 0, 0.1305, 0.183, 0.03, 0.1325), box(0, 0, 0.1305, 0.03, 0.183, 0.1325))
    bows = (arc((0.02, 0, 0.3), 0.045, 0.018, 150), mirrored(arc((0.02, 0, 0.3), 0.045, 0.018, 150)))
    return [Part(None, "box", look, (box(0, 0, 0.13, 0.18, 0.18, 0.13),)), Part("ribbon", "band", ribbon, (*bands, *bows))]

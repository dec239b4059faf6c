"""The kinds of objects in a toy world, and the materials that each may have."""

import toy_world.household as household
import toy_world.toys as toys
from toy_world.materials import PALETTE
from toy_world.parts import VIVID, Kind

PATTERNS = ("plain", "striped", "checkered", "dotted", "zigzag")
ANY = tuple(PALETTE)
CERAMIC = ("red", "blue", "green", "yellow", "purple", "turquoise", "white", "orange", "pink", "black")
KINDS = (
    Kind("mug", "cylinder", CERAMIC, PATTERNS, household.make_mug),
    Kind("vase", "curved", CERAMIC, (*PATTERNS, "marble"), household.make_vase),
    Kind("bowl", "round", CERAMIC, ("plain", "striped", "wooden", "marble", "dotted"), household.make_bowl),
    Kind("ball", "sphere", VIVID, PATTERNS, toys.make_ball),
    Kind("cube", "box", ANY, (*PATTERNS, "wooden", "marble"), toys.make_cube),
    Kind(
        "book",
        "box",
        ("red", "blue", "green", "purple", "black", "orange", "brown"),
        ("plain", "striped", "dotted"),
        household.make_book,
    ),
    Kind(
        "pot",
        "cylinder",
        ("red", "gray", "blue", "green", "orange", "turquoise"),
        ("plain", "dotted", "striped"),
        household.make_pot,
    ),
    Kind("snowman", "round", ("white",), ("plain",), toys.make_snowman),
    Kind(
        "bottle",
        "bottle",
        ("green", "blue", "red", "purple", "turquoise", "brown"),
        ("plain", "striped", "zigzag"),
        household.make_bottle,
    ),
    Kind("lamp", "cone", (*VIVID, "white"), PATTERNS, household.make_lamp),
    Kind(
        "candle",
        "cylinder",
        ("white", "red", "purple", "pink", "blue", "green"),
        ("plain", "striped", "marble"),
        household.make_candle,
    ),
    Kind("mushroom", "dome", ("red", "brown", "orange", "purple", "blue"), ("dotted", "plain"), toys.make_mushroom),
    Kind("cone", "cone", ("orange", "red", "blue", "green", "pink", "purple"), ("striped", "plain", "checkered"), toys.make_cone),
    Kind("cactus", "column", ("green",), ("plain", "striped"), toys.make_cactus),
    Kind("teapot", "round", CERAMIC, (*PATTERNS, "marble"), household.make_teapot),
    Kind("gift", "box", VIVID, ("plain", "dotted", "striped", "checkered"), household.make_gift),
    Kind(
        "donut",
        "ring",
        ("pink", "brown", "purple", "turquoise", "white", "green"),
        ("plain", "dotted", "striped"),
        toys.make_donut,
    ),
    Kind(
        "house", "box", ("white", "yellow", "pink", "blue", "gray", "orange"), ("plain", "wooden", "checkered"), toys.make_house
    ),
    Kind(
        "rocket", "cylinder", ("white", "gray", "red", "yellow", "turquoise"), ("plain", "striped", "checkered"), toys.make_rocket
    ),
    Kind("apple", "sphere", ("red", "green", "yellow"), ("plain",), toys.make_apple),
    Kind("banana", "curved", ("yellow",), ("plain",), toys.make_banana),
    Kind("tree", "cone", ("green", "turquoise", "white"), ("plain", "striped"), toys.make_tree),
    Kind("duck", "round", ("yellow", "white", "blue", "pink", "green"), ("plain", "dotted"), toys.make_duck),
    Kind(
        "drum",
        "cylinder",
        ("red", "blue", "green", "yellow", "purple"),
        ("zigzag", "striped", "checkered", "plain"),
        toys.make_drum,
    ),
    Kind("hat", "round", ("brown", "black", "red", "blue", "purple", "gray"), ("plain", "checkered"), household.make_hat),
    Kind("pyramid", "pyramid", ANY, (*PATTERNS, "marble", "wooden"), toys.make_pyramid),
)

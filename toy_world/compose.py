"""A toy world from a seed: its objects with their materials and positions, the room, the light and the cameras."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from scene.camera import Camera
from toy_world.materials import Material
from toy_world.objects import KINDS
from toy_world.parts import BOX, Kind, Part, box
from toy_world.shapes import Polytope, Primitive, rotation

TABLE = (1.4, 1.0)  # half edges of the table top, world units; objects are about 0.4 across
FLOOR = -1.35  # height of the floor; the table top is at 0
ROOM = (4.2, 4.2, 2.6)  # half edges of the room
PAIRS = 2  # object kinds that appear twice in a world, in different colours
STONES = ("white", "black", "green", "pink", "red", "blue")  # colours of marble
SPACING = 0.5  # minimum distance between object centres


@dataclass(frozen=True)
class Item:
    """One object of the world with its name in words. `phrase` is unambiguous within the world."""

    kind: str
    shape: str
    color: str
    texture: str
    phrase: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Light:
    """Rectangular lamp and ambient light. Colours are linear RGB."""

    corner: Float[np.ndarray, "3"]
    edges: Float[np.ndarray, "2 3"]
    color: Float[np.ndarray, "3"]
    sky: Float[np.ndarray, "3"]
    bounce: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class World:
    """Objects first, then the surroundings (table, floor, walls). Part ids count the parts in this order."""

    items: tuple[Item, ...]
    num_objects: int
    light: Light

    @cached_property
    def parts(self) -> tuple[tuple[int, Part], ...]:
        """(item index, part) by part id."""
        return tuple((i, part) for i, item in enumerate(self.items) for part in item.parts)

    @cached_property
    def primitives(self) -> tuple[tuple[int, Primitive], ...]:
        """(part id, primitive) by primitive index."""
        return tuple((k, primitive) for k, (_, part) in enumerate(self.parts) for primitive in part.primitives)

    def phrases(self) -> dict[str, list[int]]:
        """Part ids that each phrase of the world names: objects, their named parts, the surroundings."""
        named: dict[str, list[int]] = {}
        for k, (i, part) in enumerate(self.parts):
            named.setdefault(self.items[i].phrase, []).append(k)
            phrase = self._part_phrase(self.items[i], part)
            if phrase is not None:
                named.setdefault(phrase, []).append(k)
        return named

    def without(self, phrase: str) -> "World":
        """The same world with one object left out. Everything else stays; the ids of later parts move down.

        Raises:
            ValueError: no object has this phrase.
        """
        names = [item.phrase for item in self.items[: self.num_objects]]
        if phrase not in names:
            raise ValueError(f"No object of this world is {phrase!r}; it has {', '.join(names)}.")
        kept = tuple(item for item in self.items if item.phrase != phrase)
        return replace(self, items=kept, num_objects=self.num_objects - 1)

    def _part_phrase(self, item: Item, part: Part) -> str | None:
        """Phrase for a part: `snowman's hat`, or with two mugs `mug's red handle`. None for an unnamed part, for the only
        part of an item, and where the material does not distinguish the parts of that name."""
        if part.name is None or len(item.parts) == 1:
            return None
        rivals = [p for other in self.items if other.kind == item.kind for p in other.parts if p.name == part.name]
        if len(rivals) == 1:
            return f"{item.kind}'s {part.name}"
        looks = [adjectives(p.material.color, p.material.texture) for p in rivals]
        look = adjectives(part.material.color, part.material.texture)
        return f"{item.kind}'s {look} {part.name}" if looks.count(look) == 1 else None


def adjectives(color: str, texture: str) -> str:
    """Adjectives of a material: `striped red`, `white marble`, `wooden`."""
    return {"plain": color, "wooden": "wooden", "marble": f"{color} marble"}.get(texture, f"{texture} {color}")


def _choose_kinds(rng: np.random.Generator, count: int) -> list[Kind]:
    chosen: list[Kind] = []
    for index in rng.permutation(len(KINDS)):
        kind = KINDS[index]
        parts = {part.name for other in chosen for part in other.build(Material("red"), np.random.default_rng(0))}
        own = {part.name for part in kind.build(Material("red"), np.random.default_rng(0))}
        if kind.name in parts or own & {other.name for other in chosen}:
            continue  # a snowman's hat beside a hat would make the phrase "hat" ambiguous
        chosen.append(kind)
        if len(chosen) == count - PAIRS:
            break
    several = [kind for kind in chosen if len(kind.colors) > 2]
    return chosen + several[:PAIRS]


def make_look(rng: np.random.Generator, kind: Kind, avoid: frozenset[str] = frozenset()) -> Material:
    """Random material that the kind may have, with a colour that is not in `avoid`."""
    while True:
        texture, color = str(rng.choice(kind.textures)), str(rng.choice(kind.colors))
        if texture == "wooden":
            color = "brown"
        if color not in avoid and (texture != "marble" or color in STONES):
            break
    return Material(
        color,
        texture,
        repeats=int(rng.integers(8, 13)),
        upright=bool(rng.random() < 0.4),
        gloss=float(rng.uniform(0.08, 0.22)),
        tint=tuple(rng.uniform(0.88, 1.1, 3)),
    )


def _phrase(rng: np.random.Generator, kind: Kind, look: Material, alone: bool) -> str:
    full = f"{adjectives(look.color, look.texture)} {kind.name}"
    if look.texture == "wooden":
        return full
    if not alone:
        return f"{look.color} {kind.name}"
    return str(rng.choice([kind.name, f"{look.color} {kind.name}", full]))


def _place(part: Part, linear: Float[np.ndarray, "3 3"], offset: Float[np.ndarray, "3"]) -> Part:
    return replace(part, primitives=tuple(p.placed(linear, offset) for p in part.primitives))


def build_item(
    kind: Kind, look: Material, phrase: str, position: tuple[float, float], yaw: float, rng: np.random.Generator
) -> Item:
    """An object standing on the table at `position` (world units), turned by `yaw` degrees."""
    linear = rotation("z", yaw) * np.float32(rng.uniform(0.92, 1.12))
    offset = np.float32([*position, 0])
    parts = tuple(_place(part, linear, offset) for part in kind.build(look, rng))
    return Item(kind.name, kind.shape, look.color, look.texture, phrase, parts)


def _spots(rng: np.random.Generator, count: int) -> Float[np.ndarray, "n 2"]:
    """Well-separated positions on the table, front ones first."""
    limit = np.array(TABLE) - 0.28
    spacing = SPACING
    while True:
        spots: list[np.ndarray] = []
        for candidate in rng.uniform(-limit, limit, (400, 2)):
            if all(np.hypot(*(candidate - spot)) > spacing for spot in spots):
                spots.append(candidate)
        if len(spots) >= count:
            spots = sorted(spots[:count], key=lambda s: s[1])
            return np.array(spots)
        spacing *= 0.96


def _height(parts: list[Part]) -> float:
    return max(float(b[2]) for part in parts for p in part.primitives for b in [p.bounding_ball()[0]])


def _surroundings(rng: np.random.Generator) -> list[Item]:
    wood = Material("brown", "wooden", gloss=0.1, tint=tuple(rng.uniform([1.5, 1.5, 1.5], [2.5, 2.6, 2.8])))
    top = box(0, 0, -0.04, *TABLE, 0.04)
    legs = tuple(box(x, y, (FLOOR - 0.08) / 2, 0.06, 0.06, (-FLOOR - 0.08) / 2) for x in (-1.25, 1.25) for y in (-0.85, 0.85))
    paper = Material("white", gloss=0.0, tint=tuple(rng.uniform(0.55, 0.95, 3)))
    room = Polytope(
        np.diag(np.float32(ROOM)), np.float32([0, -0.6, FLOOR - 0.06 + ROOM[2]]), BOX, np.ones(6, np.float32), inside_out=True
    )
    boards = Material("brown", "wooden", gloss=0.05, tint=tuple(rng.uniform([0.5, 0.5, 0.5], [1.3, 1.2, 1.1])))
    floor = box(0, -0.6, FLOOR - 0.05, 4.3, 4.3, 0.05)
    frame_color, art = str(rng.choice(["brown", "black", "white"])), str(rng.choice(["red", "blue", "green", "orange", "purple"]))
    x, z = float(rng.uniform(-0.9, 0.9)), 1.15
    picture = Part(
        None,
        "flat",
        Material(art, str(rng.choice(["zigzag", "checkered", "dotted"])), 12, gloss=0.0),
        (box(x, 3.56, z, 0.72, 0.03, 0.5),),
    )
    frame = Part("frame", "flat", Material(frame_color), (box(x, 3.58, z, 0.8, 0.03, 0.58),))
    return [
        Item("painting", "flat", art, picture.material.texture, "painting", (picture, frame)),
        Item("table", "flat", "brown", "wooden", "wooden table", (Part(None, "flat", wood, (top, *legs)),)),
        Item("floor", "flat", "brown", "wooden", "floor", (Part(None, "flat", boards, (floor,)),)),
        Item("wall", "flat", "white", "plain", "wall", (Part(None, "flat", paper, (room,)),)),
    ]


def _light(rng: np.random.Generator) -> Light:
    side = float(rng.choice([-1, 1]))
    corner = np.float32([side * rng.uniform(0.8, 1.9) - 0.7, rng.uniform(-2.6, -1.0), 3.0])
    warmth = rng.uniform(0, 1)
    return Light(
        corner,
        np.float32([[1.4, 0, 0], [0, 1.4, 0]]),
        np.float32([1.02, 0.95 - 0.05 * warmth, 0.86 - 0.14 * warmth]) * np.float32(1.5),
        np.float32([0.34, 0.37, 0.42]),
        np.float32([0.30, 0.25, 0.21]),
    )


def compose(seed: int, num_objects: int = 12) -> World:
    """The world of a seed. The same seed gives the same world everywhere.

    Raises:
        ValueError: more objects than there are kinds.
    """
    if not 1 <= num_objects <= 20:
        raise ValueError(f"A toy world holds 1 to 20 objects, not {num_objects}.")
    rng = np.random.default_rng(seed)
    kinds = _choose_kinds(rng, num_objects)
    counts = Counter(kind.name for kind in kinds)
    used: dict[str, frozenset[str]] = {}
    drafts = []
    for kind in kinds:
        look = make_look(rng, kind, used.get(kind.name, frozenset()))
        used[kind.name] = used.get(kind.name, frozenset()) | {look.color}
        drafts.append((kind, look, _phrase(rng, kind, look, counts[kind.name] == 1)))
    # tall objects tend to stand behind short ones, so that most are fully visible
    order = np.argsort([_height(kind.build(look, np.random.default_rng(0))) + rng.normal(0, 0.08) for kind, look, _ in drafts])
    items = []
    for spot, index in zip(_spots(rng, len(drafts)), order, strict=True):
        kind, look, phrase = drafts[index]
        items.append(build_item(kind, look, phrase, tuple(spot), float(rng.uniform(-35, 35)), rng))
    return World((*items, *_surroundings(rng)), len(items), _light(rng))


def cameras(seed: int, count: int, width: int, height: int) -> list[Camera]:
    """Views from the front half of the room towards the table, along three rising arcs in alternating direction."""
    rng = np.random.default_rng([seed, 1])
    views = []
    for i in range(count):
        sweep = 3 * (i + 0.5) / count
        ring, along = int(sweep), sweep % 1
        azimuth = np.radians((-1) ** ring * (2 * along - 1) * 88 + rng.normal(0, 2))
        elevation = np.radians((21, 34, 48)[ring] + rng.normal(0, 2))
        distance = rng.uniform(2.65, 3.0)
        target = np.array([0, 0, 0.1]) + rng.normal(0, 0.06, 3)
        outward = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        focal = 0.92 * width
        views.append(look_at(f"view_{i:03d}", target + distance * outward, target, focal, width, height))
    return views


def look_at(
    name: str, center: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"], focal: float, width: int, height: int
) -> Camera:
    """Upright camera at `center` looking at `target`; `focal` in pixels."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ center
    return Camera(name, world_to_camera, focal, focal, width / 2, height / 2, width, height)

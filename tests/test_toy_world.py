"""The generated scene: exact geometry, agreeing views, ground truth that matches the pictures."""

import json
import os
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from scene.dataset import load_scene
from toy_world.compose import FLOOR, World, cameras, compose
from toy_world.generate import MOST_OBJECTS, render_views, write_toy_world
from toy_world.labels import polygons
from toy_world.parts import arc, ball, box, rod, turned
from toy_world.render import Renderer
from toy_world.shapes import rotation
from workspace import InputError, SceneFolder

SIZE = {"width": 128, "height": 96, "views": 9, "objects": 6, "points": 600}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "world"
    return SceneFolder(folder), write_toy_world(folder, 3, **SIZE)


def _rays(count=4000):
    rng = np.random.default_rng(0)
    origins = rng.normal(size=(count, 3))
    origins *= 3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.normal(0, 0.4, (count, 3)) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


def test_a_turned_circle_is_a_ball():
    origins, directions = _rays()
    angles = np.radians(np.linspace(-90, 90, 181))
    circle = turned(*zip(np.cos(angles).clip(0), np.sin(angles), strict=True))
    t, exact = circle.intersect(origins, directions), ball(0, 0, 0, 1).intersect(origins, directions)
    offset = np.linalg.norm(np.cross(origins, directions), axis=1)
    clear = np.abs(offset - 1) > 0.02  # away from the silhouette, where a hair decides between a hit and a miss
    assert (np.isfinite(t) == np.isfinite(exact))[clear].all()
    hit = np.isfinite(exact) & (offset < 0.9)
    assert (
        np.abs(t[hit] - exact[hit]).max() < 1e-3
    )  # the polygon of one-degree chords lies 4e-5 inside; grazing rays stretch that
    points = origins[hit] + exact[hit, None] * directions[hit]
    assert (circle.normals(points) * points).sum(1).min() > 0.999


@pytest.mark.parametrize(
    "shape",
    [
        ball(0.1, 0, 0, 1, 0.5, 0.3),
        box(0, 0.2, 0, 0.5, 0.3, 0.8, 30),
        rod((-1, 0, 0), (0.5, 0.6, 0.2), 0.2),
        arc((0, 0, 0), 0.8, 0.15, 120),
    ],
    ids=["ball", "box", "rod", "arc"],
)
def test_hits_are_the_first_surface_points(shape):
    origins, directions = _rays()
    t = shape.intersect(origins, directions)
    hit = np.isfinite(t)
    assert 50 < hit.sum() < len(t)
    points = origins[hit] + t[hit, None] * directions[hit]
    normals = shape.normals(points)
    assert (
        (normals * directions[hit]).sum(1) < 0.05
    ).all()  # seen from outside; the march stops 2e-3 early, so grazing hits tilt
    # a step off the surface along the normal: looking back, the surface is that far away
    back = shape.intersect((points + 0.05 * normals).astype(np.float32), -normals)
    assert np.abs(back - 0.05).max() < 3e-3  # float32 and the march's tolerance
    centre, radius = shape.bounding_ball()
    assert (np.linalg.norm(points - centre, axis=1) <= radius * 1.001).all()


def test_a_placed_shape_moves_with_its_frame():
    origins, directions = _rays(500)
    shape, turn, shift = arc((0.2, 0, 0.1), 0.6, 0.1, 100), rotation("z", 40), np.float32([0.3, -0.2, 0.5])
    moved = shape.placed(turn, shift).intersect(
        (origins @ turn.T + shift).astype(np.float32), (directions @ turn.T).astype(np.float32)
    )
    still = shape.intersect(origins, directions)
    both = np.isfinite(still) & np.isfinite(moved)
    assert (np.isfinite(still) == np.isfinite(moved)).mean() > 0.99  # rays that graze the surface may fall either way
    assert np.abs(still[both] - moved[both]).max() < 5e-3  # the tolerance of the march


def test_worlds_are_rich_and_unambiguous():
    for seed in range(40):
        world = compose(seed)
        objects = world.items[: world.num_objects]
        assert len(objects) >= 10
        phrases = [item.phrase for item in world.items]
        assert len(set(phrases)) == len(phrases)
        for item in objects:
            words = set(item.phrase.split())
            fits = [other for other in objects if words <= {other.kind, other.color, other.texture}]
            assert fits == [item], (seed, item.phrase)
        kinds, colors = [o.kind for o in objects], [o.color for o in objects]
        assert len(set(kinds)) < len(kinds) and len(set(colors)) < len(colors)  # some share a kind, some a colour
        parts = [(phrase, ids) for phrase, ids in world.phrases().items() if "'s " in phrase]
        assert parts and all(len(ids) == 1 for _, ids in parts)
    assert compose(5).phrases() == compose(5).phrases() != compose(6).phrases()


def test_a_point_looks_the_same_from_every_view():
    world = compose(4)
    renderer = Renderer(world, detail=0.5)
    first, second = cameras(4, 36, 160, 120)[3:5]
    a, b = renderer.render(first, antialias=False), renderer.render(second, antialias=False)
    y, x = np.mgrid[:120, :160]
    local = np.stack([(x + 0.5 - first.cx) / first.fx, (y + 0.5 - first.cy) / first.fy, np.ones_like(x)], -1) * a.depth[..., None]
    points = (local.reshape(-1, 3) - first.world_to_camera[:3, 3]) @ first.world_to_camera[:3, :3]
    seen = points @ second.world_to_camera[:3, :3].T + second.world_to_camera[:3, 3]
    column, row = (np.floor(seen[:, :2] / seen[:, 2:] * second.fx + [second.cx, second.cy]).astype(int)).T
    inside = (column >= 0) & (column < 160) & (row >= 0) & (row < 120)
    row, column, points_in = row[inside], column[inside], np.flatnonzero(inside)
    visible = np.abs(b.depth[row, column] - seen[points_in, 2]) < 0.02
    assert visible.mean() > 0.5
    row, column, points_in = row[visible], column[visible], points_in[visible]
    assert (b.parts[row, column] == a.parts.ravel()[points_in]).mean() > 0.97  # half a pixel of rounding at the borders
    difference = np.abs(b.image[row, column].astype(int) - a.image.reshape(-1, 3)[points_in].astype(int)).max(1)
    assert np.median(difference) <= 4  # of 255: the nearest pixel is not the same point


def test_objects_cast_shadows_on_the_table():
    world = compose(0)
    renderer = Renderer(world, detail=0.5)
    lightmap = renderer.lightmaps[renderer.table].values
    assert lightmap[..., 0].min() < 0.1 * lightmap[..., 0].max()  # under an object the lamp is hidden
    assert lightmap[..., 1].min() < 0.6 < lightmap[..., 1].max()  # and little of the room is open
    below = renderer.lightmaps[renderer.floor].look_up(np.float32([[0, 0, FLOOR]]))
    assert below[0, 0] < 0.05  # the floor under the table is in its shadow


def test_the_model_agrees_with_the_photographs(written):
    folder, _ = written
    scene = load_scene(folder.root, eval=True)
    assert [camera.name for camera in scene.test] == ["view_000", "view_008"]
    assert len(scene.train) == 7
    assert len(scene.points) > 300
    camera = scene.train[0]
    expected = cameras(3, 9, 128, 96)[1]
    assert np.allclose(camera.world_to_camera, expected.world_to_camera, atol=1e-9)
    image = np.asarray(Image.open(camera.image_path)).astype(int)
    local = scene.points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    x, y = (local[:, :2] / local[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]).astype(int).T
    depth = Renderer(compose(3, 6), detail=0.3).render(expected, antialias=False).depth
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 96) & (local[:, 2] > 0)
    shown = np.flatnonzero(inside)[np.abs(depth[y[inside], x[inside]] - local[inside, 2]) < 0.02]
    assert len(shown) > 100
    difference = np.abs(image[y[shown], x[shown]] - scene.colors[shown]).max(1)
    assert np.median(difference) < 20  # of 255: textures are finer than a pixel at this size, and JPEG


def test_masks_labels_and_ids_tell_the_same(written):
    folder, world = written
    label = json.loads((folder.labels / "view_000.json").read_text())
    assert (label["info"]["width"], label["info"]["height"]) == (128, 96)
    ids = np.asarray(Image.open(folder.part_ids / "view_000.png"))
    described = json.loads((folder.part_ids / "parts.json").read_text())
    assert len(described["parts"]) == len(world.parts) and described["complete"]
    categories = {entry["category"] for entry in label["objects"]}
    assert len(categories) >= 4
    for phrase in categories:
        mask = np.asarray(Image.open(folder.mask("view_000", phrase))) == 255
        assert (mask == np.isin(ids, described["phrases"][phrase])).all()
        filled = np.zeros(mask.shape, np.uint8)
        for entry in label["objects"]:
            if entry["category"] == phrase:
                outline = np.array(entry["segmentation"])
                assert entry["bbox"] == [*outline.min(0), *outline.max(0)]
                piece = np.zeros_like(filled)
                cv2.fillPoly(piece, [outline.astype(np.int32)], 1)
                filled |= piece
        assert (filled.astype(bool) != mask).sum() <= 4  # pieces of one or two pixels have no outline
        if "'s " in phrase:
            owners = {world.parts[k][0] for k in described["phrases"][phrase]}
            assert len(owners) == 1 and world.items[owners.pop()].kind == phrase.split("'s ")[0]


def test_polygons_keep_holes_and_pieces():
    mask = np.zeros((40, 60), bool)
    cv2_mask = mask.astype(np.uint8)
    cv2.circle(cv2_mask, (20, 20), 15, 1, -1)
    cv2.circle(cv2_mask, (15, 20), 4, 0, -1)
    cv2.circle(cv2_mask, (28, 22), 3, 0, -1)
    cv2.rectangle(cv2_mask, (45, 5), (55, 30), 1, -1)
    outlines = polygons(cv2_mask.astype(bool))
    assert len(outlines) == 2
    filled = np.zeros_like(cv2_mask)
    for outline in outlines:
        cv2.fillPoly(filled, [outline.astype(np.int32)], 1)
    # a hole is reached by a cut one pixel wide within the mask, so nothing outside it is filled
    assert (filled == cv2_mask).all()


def test_the_same_world_is_kept_and_another_is_refused(written, tmp_path):
    folder, _ = written
    before = (folder.images / "view_004.jpg").stat().st_mtime_ns
    write_toy_world(folder.root, 3, **SIZE)
    assert (folder.images / "view_004.jpg").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another world"):
        write_toy_world(folder.root, 4, **SIZE)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="photographs"):
        write_toy_world(tmp_path, 3, **SIZE)


def test_a_world_is_the_same_bytes_again(written, tmp_path):
    folder, _ = written
    write_toy_world(tmp_path / "again", 3, **SIZE)
    for name in (
        "images/view_000.jpg",
        "images/view_005.jpg",
        "sparse/0/points3D.bin",
        "sparse/0/images.bin",
        "label/view_000.json",
    ):
        assert (tmp_path / "again" / name).read_bytes() == (folder.root / name).read_bytes(), name


def test_processes_draw_the_same_pictures_as_one(written, monkeypatch):
    _, world = written
    monkeypatch.setattr("toy_world.generate.WORTH_PROCESSES", 1)
    shots = cameras(3, 9, 128, 96)[:3]
    pictures = render_views(world, shots)
    for camera in shots:
        assert np.array_equal(pictures[camera.name].image, Renderer(world, 128 / 640).render(camera).image)


class _Killer(World):
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies_at_its_start_ends_the_command(monkeypatch):
    monkeypatch.setattr("toy_world.generate.WORTH_PROCESSES", 1)
    with pytest.raises(InputError, match="was killed.*--width 320"):
        render_views(object.__new__(_Killer), cameras(3, 9, 128, 96))
    assert len(pickle.dumps(compose(0, MOST_OBJECTS))) < 1 << 16  # more than a pipe holds would wait for that process


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"width": 0}, {"height": 3}, {"views": 1}, {"objects": 50}, {"points": 0}])
def test_settings_without_a_meaning_are_refused_and_leave_nothing(tmp_path, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"--{name} {value}: expected"):
        write_toy_world(tmp_path / "world", **{"seed": 0, **wrong})
    assert not (tmp_path / "world").exists()


def test_a_world_without_an_object_keeps_all_others_where_they_are():
    world = compose(0)
    gone = world.items[3].phrase
    rest = world.without(gone)
    assert rest.items == tuple(item for item in world.items if item.phrase != gone) and rest.num_objects == world.num_objects - 1
    assert set(world.phrases()) - set(rest.phrases()) >= {gone} and rest.light is world.light
    with pytest.raises(ValueError, match="No object of this world is 'floor'"):
        world.without("floor")

"""Stage 1 from photographs to files, with networks of the real classes at random weights."""

import json
import os
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import small_clip, small_dino, small_sam
from small_photographs import photograph_scene, write_picture
from test_transforms import write_blender

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from features.dino import DinoEncoder
from features.grid_store import GridStore
from features.photographs import read_photograph
from features.preprocessing import PreprocessConfig, preprocess
from features.registry import EXTRACTORS, open_store
from features.sam_clip import PRESETS
from workspace import InputError, ModelFolder, SceneFolder


def _grid(scene, key):
    return open_store(scene).embeddings(key)


@pytest.fixture
def scene(tmp_path):
    return photograph_scene(tmp_path)


@pytest.fixture
def sam_clip(tmp_path, monkeypatch):
    """Options of a run with small SAM and CLIP networks."""
    monkeypatch.setattr("segment_anything.sam_model_registry", {"vit_b": partial(small_sam, side=64)})
    # the published settings with a coarser grid
    presets = {name: (type(sam)(4, 16, 0.7, 0.5, 0.7, sam.crop_n_layers, 20), step) for name, (sam, step) in PRESETS.items()}
    monkeypatch.setattr("features.sam_clip.PRESETS", presets)
    torch.save(small_sam(side=64).state_dict(), tmp_path / "sam.pth")
    name, weights = small_clip(tmp_path)
    return {
        "sam_ckpt_path": tmp_path / "sam.pth",
        "sam_model_type": "vit_b",
        "clip_model": name,
        "clip_pretrained": str(weights),
        "device": "cpu",
    }


def test_photographs_become_segments(scene, sam_clip):
    preprocess(PreprocessConfig(scene.root, **sam_clip))
    assert open_store(scene).settings.text("clip_model") == "small-clip"
    for key in ("one", "a.b", "left/one"):
        segments = open_store(scene).read(key)
        embeddings, maps = segments.embeddings, segments.maps
        assert maps.shape == (4, 90, 120)
        assert maps.dtype == np.int32
        assert len(embeddings) > 4
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)  # unit in float32
        for before, after in zip(maps[:-1], maps[1:], strict=True):  # ids of a level follow those of the one before
            assert after.max() == -1 or after[after >= 0].min() > before.max()
    rows = [json.loads(line) for line in (scene.language_features / "metrics.jsonl").read_text().splitlines()]
    assert sorted(row["image"] for row in rows) == ["a.b", "left/one", "one"]
    assert {"read", "segmenter", "nms", "encoder"} <= rows[0]["seconds"].keys()


def test_the_fast_preset_says_how_it_differs(scene, sam_clip, caplog):
    with caplog.at_level("INFO"):
        preprocess(PreprocessConfig(scene.root, preset="fast", **sam_clip))
    assert "crop_n_layers 0 instead of 1" in caplog.text
    assert "masks compared at every 2 pixels instead of 1" in caplog.text
    with pytest.raises(InputError, match="crop_n_layers: 0 on disk, 1 now"):
        preprocess(PreprocessConfig(scene.root, **sam_clip))
    preprocess(PreprocessConfig(scene.root, overwrite=True, **sam_clip))


def test_presets_are_what_they_are_called():
    published, step = PRESETS["published"]
    assert (published.points_per_side, published.pred_iou_thresh, published.box_nms_thresh, published.stability_score_thresh) == (
        32,
        0.7,
        0.7,
        0.85,
    )
    assert (published.crop_n_layers, published.min_mask_region_area, step) == (1, 100, 1)


@pytest.fixture
def dino(tmp_path, monkeypatch):
    name, weights = small_dino(tmp_path, monkeypatch)
    return {"features": "dino", "dino_model": name, "dino_ckpt": weights, "dino_side": 56, "device": "cpu"}


def squared(dino: dict) -> dict:
    """The same flags, the picture squashed instead of scaled."""
    return {name: value for name, value in dino.items() if name != "dino_side"} | {"square": 56}


def test_photographs_become_patch_grids(scene, dino):
    preprocess(PreprocessConfig(scene.root, **dino))
    grid = _grid(scene, "a.b")
    record = json.loads((scene.dino_features / "stage.json").read_text())
    assert record["report"] == {"embeddings": "raw"} and np.linalg.norm(grid.astype(float), axis=-1).min() > 5
    assert grid.shape == (3, 5, 384)  # 120 x 90 at the area of 4 x 4 patches
    assert grid.dtype == np.float16
    preprocess(PreprocessConfig(scene.root, overwrite=True, **squared(dino)))
    assert _grid(scene, "a.b").shape == (4, 4, 384)
    preprocess(PreprocessConfig(scene.root, overwrite=True, windows=2, **dino))
    assert _grid(scene, "a.b").shape == (6, 10, 384)


def test_an_extractor_is_a_function_of_the_picture_alone(scene, dino):
    config = PreprocessConfig(scene.root, **dino)
    preprocess(config)
    image, _ = read_photograph("a.b", scene.images / "a.b.JPG", None, -1)
    extractor = EXTRACTORS["dino"].load(config, torch.device("cpu"))
    np.testing.assert_array_equal(extractor(image).tokens, _grid(scene, "a.b"))


def test_a_square_is_prepared_as_published(tmp_path, dino, monkeypatch):
    """torchvision's default resizing of the whole photograph, not of one shrunk to 1080 pixels before; single precision."""
    from torchvision.transforms.functional import resize

    scene = SceneFolder(tmp_path / "tall")
    noise = np.random.default_rng(0).integers(0, 255, (1300, 90, 3), dtype=np.uint8)
    scene.images.mkdir(parents=True)
    Image.fromarray(noise).save(scene.images / "one.png")
    given = []
    embed = DinoEncoder.embed_patches
    monkeypatch.setattr(DinoEncoder, "embed_patches", lambda encoder, images: given.append(images) or embed(encoder, images))
    preprocess(PreprocessConfig(scene.root, **squared(dino)))
    expected = resize(torch.from_numpy(noise).permute(2, 0, 1).float() / 255, [56, 56])
    torch.testing.assert_close(given[0][0], expected, atol=1e-6, rtol=0)  # float32 sums in another order
    assert open_store(scene).settings.text("resize") == "bilinear"


def test_a_killed_run_continues_where_it_was(scene, dino, monkeypatch):
    write, seen = GridStore.write, []

    def dying(store, key, value):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(key)
        write(store, key, value)

    monkeypatch.setattr(GridStore, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        preprocess(PreprocessConfig(scene.root, **dino))
    with pytest.raises(InputError, match="did not finish"):
        open_store(scene)
    first = scene.patch_grid(seen[0]).stat().st_mtime_ns
    monkeypatch.setattr(GridStore, "write", write)
    preprocess(PreprocessConfig(scene.root, **dino))
    open_store(scene)  # complete
    assert scene.patch_grid(seen[0]).stat().st_mtime_ns == first  # not made again


def test_a_finished_stage_needs_no_weights(scene, dino):
    preprocess(PreprocessConfig(scene.root, **dino))
    dino["dino_ckpt"].unlink()
    preprocess(PreprocessConfig(scene.root, **dino))
    open_store(scene)  # complete
    with pytest.raises(InputError, match="No file"):
        preprocess(PreprocessConfig(scene.root, overwrite=True, **dino))
    open_store(scene)  # complete  # what was there is still there


def test_an_unreadable_photograph_is_reported_at_the_end(scene, dino, caplog):
    (scene.images / "b.jpg").write_bytes((scene.images / "left/one.jpg").read_bytes()[:600])
    with pytest.raises(SystemExit) as stopped:
        preprocess(PreprocessConfig(scene.root, **dino))
    assert stopped.value.code == 1
    report = caplog.messages[-1].splitlines()
    assert report[0] == "1 of 4 photographs have no features:"
    assert report[1].startswith(f"  {scene.images / 'b.jpg'}: ") and len(report) == 3  # one line each, the advice once
    assert all(scene.patch_grid(key).is_file() for key in ("one", "a.b", "left/one"))
    with pytest.raises(InputError, match="did not finish"):
        open_store(scene)
    write_picture(scene.images / "b.jpg")
    preprocess(PreprocessConfig(scene.root, **dino))
    open_store(scene)  # complete


def test_what_is_refused_names_the_command_that_continues(scene, dino):
    preprocess(PreprocessConfig(scene.root, shard="1/2", **dino))
    with pytest.raises(InputError, match=r"did not finish. Continue it with: .* --features dino$"):
        open_store(scene)
    with pytest.raises(InputError, match=r"holds dino features, not mini_dense. To replace them: .* mini_dense --overwrite$"):
        open_store(scene, "mini_dense")


def test_shards_share_the_work(scene, dino):
    preprocess(PreprocessConfig(scene.root, shard="2/2", **dino))
    assert [scene.patch_grid(key).is_file() for key in ("a.b", "left/one", "one")] == [False, True, False]
    with pytest.raises(InputError, match="did not finish"):
        open_store(scene)
    preprocess(PreprocessConfig(scene.root, shard="1/2", **dino))
    open_store(scene)  # complete
    names = sorted(path.name for path in scene.dino_features.glob("metrics*"))
    assert names == ["metrics.1of2.jsonl", "metrics.2of2.jsonl"]
    with pytest.raises(InputError, match="counts from 1"):
        preprocess(PreprocessConfig(scene.root, shard="0/2", **dino))
    with pytest.raises(InputError, match="would delete what other shards have done"):
        preprocess(PreprocessConfig(scene.root, shard="1/2", overwrite=True, **dino))


def test_photographs_are_turned_as_their_cameras_see_them(tmp_path, dino):
    scene = SceneFolder(tmp_path / "turned")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 120 x 90, shown 90 x 120
    write_picture(scene.images / "one.jpg", exif=exif)
    preprocess(PreprocessConfig(scene.root, **dino))
    assert _grid(scene, "one").shape[:2] == (5, 3)  # nothing says otherwise: upright
    scene.sparse.mkdir(parents=True)
    (scene.sparse / "cameras.txt").write_text("1 PINHOLE 120 90 100 100 60 45\n")
    (scene.sparse / "images.txt").write_text("1 1 0 0 0 0 0 0 1 one.jpg\n\n")
    (scene.sparse / "points3D.txt").write_text("")
    preprocess(PreprocessConfig(scene.root, overwrite=True, **dino))
    assert _grid(scene, "one").shape[:2] == (3, 5)  # the camera was found on the pixels as stored


def test_a_gpu_too_small_ends_with_advice(scene, dino, monkeypatch):
    from features import dense_extractor

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    monkeypatch.setattr(dense_extractor, "patch_grid", full)
    with pytest.raises(InputError, match=r"too small for image 'a.b' \(CUDA out of memory\).*--device cpu"):
        preprocess(PreprocessConfig(scene.root, **dino))
    with pytest.raises(InputError, match="counts of 1 or more"):
        preprocess(PreprocessConfig(scene.root, windows=0, **dino))


def test_missing_weights_leave_the_scene_untouched(scene, tmp_path):
    with pytest.raises(InputError, match=r"expected the weights of SAM vit_h(?s:.*)curl -L -o"):
        preprocess(PreprocessConfig(scene.root, sam_ckpt_path=tmp_path / "absent.pth", device="cpu"))
    assert not scene.language_features.exists()


def test_a_folder_without_photographs_says_so(tmp_path, dino):
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="No photographs in"):
        preprocess(PreprocessConfig(tmp_path, **dino))


def test_features_of_a_replaced_photograph_are_made_again_and_only_those(scene, dino, tmp_path, caplog):
    preprocess(PreprocessConfig(scene.root, **dino))
    train_autoencoder(AutoencoderConfig(scene.root, tmp_path / "model", method="pca", device="cpu"))
    old, kept = _grid(scene, "one"), scene.patch_grid("a.b").stat().st_mtime_ns
    write_picture(scene.images / "one.png", seed=9)
    with pytest.raises(InputError, match=r"1 photographs .*: one. Make .*python preprocess.py -s .* --features dino"):
        train_autoencoder(AutoencoderConfig(scene.root, tmp_path / "model", method="pca", device="cpu"))
    with caplog.at_level("INFO"):
        preprocess(PreprocessConfig(scene.root, **dino))
    assert "1 photographs were replaced; their features are made again: one" in caplog.text
    assert not np.array_equal(_grid(scene, "one"), old) and scene.patch_grid("a.b").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match=r"pca was made from other inputs:\n  inputs.photographs.one: .*\n.*--overwrite"):
        train_autoencoder(AutoencoderConfig(scene.root, tmp_path / "model", method="pca", device="cpu"))


def test_weights_of_the_user_are_part_of_the_settings(scene, dino, tmp_path):
    preprocess(PreprocessConfig(scene.root, **dino))
    scene.patch_grid("one").unlink()
    other = torch.load(dino["dino_ckpt"], weights_only=True)
    torch.save({name: value + 1 for name, value in other.items()}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="with other settings:\n  config.dino_ckpt: "):
        preprocess(PreprocessConfig(scene.root, **dino | {"dino_ckpt": tmp_path / "other.pth"}))


def test_the_command_that_repairs_features_has_the_flags_they_were_made_with(scene, dino):
    preprocess(PreprocessConfig(scene.root, **dino))
    path = scene.dino_features / "stage.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"command": "python preprocess.py -s here --features dino --dino_side 56"}))
    write_picture(scene.images / "one.png", seed=9)
    with pytest.raises(InputError, match="again: python preprocess.py -s here --features dino --dino_side 56"):
        open_store(scene, "dino").refuse_replaced()


def test_photographs_are_never_enlarged_for_features(scene, dino, caplog):
    preprocess(PreprocessConfig(scene.root, resolution=100_000, **dino))
    assert caplog.text.count("narrower than --resolution 100000") == 1  # once, not for every photograph


def test_a_scene_without_an_image_folder_is_compressed_too(tmp_path, dino):
    (tmp_path / "lego").mkdir()
    write_blender(tmp_path / "lego")
    preprocess(PreprocessConfig(tmp_path / "lego", **dino))
    train_autoencoder(AutoencoderConfig(tmp_path / "lego", tmp_path / "model", method="pca", device="cpu"))
    assert len(list(ModelFolder(tmp_path / "model", "pca").autoencoder.glob("codes/**/*.npy"))) == 9  # 7 to train on, 2 to test


def test_a_name_that_is_not_utf8_is_refused_before_any_work(scene, tmp_path):
    write_picture(tmp_path / "picture.jpg")
    (tmp_path / "picture.jpg").rename(os.fsdecode(os.fsencode(scene.images) + b"/caf\xe9.jpg"))
    with pytest.raises(InputError, match=r"Image name 'caf\\udce9.jpg': its bytes are not UTF-8; rename the file"):
        preprocess(PreprocessConfig(scene.root, features="mini", device="cpu"))
    assert not scene.language_features.exists()


def test_a_damaged_line_of_the_log_says_nothing(scene, dino, tmp_path):
    preprocess(PreprocessConfig(scene.root, **dino))
    store = open_store(scene)
    made = store.made_from()
    with (store.folder / "metrics.jsonl").open("a") as log:
        log.writelines(
            [
                line + "\n"
                for line in (
                    '{"image": "one", "at"',
                    "[" * 100_000,
                    '{"image": "one", "photograph": "x", "at": 1%s}' % ("0" * 400),
                )
            ]
        )
    assert store.made_from() == made

"""A codebook by itself and as stage 2 makes it: k-means per level, codes of photographs, files, refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_features import FEATURE_WIDTH, GROUPS, write_small_grids, write_small_segments
from small_scene import NUM_VIEWS, write_small_scene

from autoencoder.codebook import Codebook, cluster, principal_directions
from autoencoder.config import AutoencoderConfig
from autoencoder.kinds import load_compressor, read_compressor, write_compressor
from autoencoder.stage import train_autoencoder
from features.registry import open_store
from features.segment_store import LEVELS, Segments
from workspace import InputError, ModelFolder, SceneFolder, read_json


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    return write_small_grids(write_small_segments(write_small_scene(tmp_path_factory.mktemp("scene"))))


def _run(scene_folder, model, **changes):
    settings = {"features": "mini", "method": "codebook", "device": "cpu", **changes}
    train_autoencoder(AutoencoderConfig(scene_folder, model, **settings))
    return ModelFolder(model, "lifted")


def _report(model):
    return read_json(model.autoencoder / "stage.json")["report"]


def test_each_level_has_codes_of_its_own_things(scene_folder, tmp_path):
    """Six, six, three and two things: with as many codes at a level every code is one thing, the mean of its thirteen views."""
    model = _run(scene_folder, tmp_path / "m", codebook_size=6)
    codebook, store = load_compressor(model), open_store(SceneFolder(scene_folder), "mini")
    assert _report(model)["details"]["levels"] == dict.fromkeys(LEVELS, 6)
    starts = np.cumsum([0, *GROUPS.values()])
    for level, start, count in zip(("default", "s"), starts, (6, 6), strict=False):
        found = [np.load(model.codes(key))[start : start + count] for key in store.keys()]
        assert all(np.array_equal(codes, found[0]) for codes in found) and len(set(found[0].tolist())) == 6
        rows = np.stack([store.embeddings(key)[start : start + count] for key in store.keys()])
        pixels = np.stack([store.membership(key)[1][start : start + count] for key in store.keys()])
        means = (rows * pixels[..., None]).sum(0) / pixels.sum(0)[:, None]
        # sums of thirteen float32 rows in float64
        torch.testing.assert_close(codebook.centroids(level)[found[0].astype(int)], torch.from_numpy(means).float())
        assert (codebook.centroids(level).norm(dim=1) < 0.995).all()  # not normalised: the views differ
    assert found[0].dtype == np.uint16
    report = _report(model)
    assert report["train"]["rows"] == 17 * NUM_VIEWS and report["train"]["mean"] > 0.95 and "validation" not in report


def test_more_codes_than_segments_are_all_segments(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m", codebook_size=5000)
    report = _report(model)
    assert report["details"]["levels"] == {level: count * NUM_VIEWS for level, count in GROUPS.items()}
    assert report["train"]["percentile_5"] == pytest.approx(1, abs=1e-5)


def test_the_report_is_of_the_codes_on_disk(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m", codebook_size=4)
    codebook, store = load_compressor(model), open_store(SceneFolder(scene_folder), "mini")
    cosines = []
    for key in store.keys():
        levels = torch.from_numpy(store.membership(key)[0])
        decoded = codebook.decode(torch.from_numpy(np.load(model.codes(key)).astype(np.int64)), levels)
        cosines.append((decoded * F.normalize(torch.from_numpy(store.embeddings(key)), dim=1)).sum(1))
    assert torch.cat(cosines).mean().item() == pytest.approx(_report(model)["train"]["mean"], abs=1e-5)
    assert _report(model)["train"]["mean"] < 0.99  # four codes for six things


def test_patch_tokens_of_any_length_have_codes_too(scene_folder, tmp_path):
    model = _run(scene_folder, tmp_path / "m", features="mini_dense", codebook_size=7, train_share=0.5)
    assert np.load(model.codes("view_05")).shape == (7, 10)
    report = _report(model)
    assert report["details"]["levels"] == {"grid": 7} and report["validation"]["mean"] > 0.9
    codebook = load_compressor(model)
    tokens = torch.from_numpy(open_store(SceneFolder(scene_folder), "mini_dense").embeddings("view_05")).float()
    assert torch.equal(codebook.encode(45 * tokens), torch.from_numpy(np.load(model.codes("view_05")).astype(np.int64)))


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_threads(scene_folder, tmp_path):
    """In processes of their own: a library reads its number of threads when it is loaded."""
    files = []
    for threads in (1, 2, 5):
        model = tmp_path / str(threads)
        command = [sys.executable, "train_autoencoder.py", "-s", scene_folder, "-m", model, "--features", "mini"]
        command += ["--method", "codebook", "--codebook-size", "5", "--device", "cpu"]
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        subprocess.run(command, env={**os.environ, **limits}, check=True, capture_output=True)
        files.append(torch.load(ModelFolder(model, "lifted").compressor, weights_only=True))
    for name, value in files[0].items():
        assert all(torch.equal(value, other[name]) for other in files[1:]), name


def test_large_segments_count_by_their_pixels():
    rows = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-1.0, 0.1]]), dim=1)
    centroids = cluster(rows, torch.tensor([3.0, 1.0, 1.0, 1.0]), 2, seed=0)
    expected = torch.stack([(3 * rows[0] + rows[1]) / 4, (rows[2] + rows[3]) / 2])
    order = centroids[:, 0].argsort(descending=True)
    torch.testing.assert_close(centroids[order], expected)


def test_fewer_distinct_rows_than_codes_leave_no_empty_code():
    rows = F.normalize(torch.eye(3).repeat(4, 1), dim=1)
    assert len(cluster(rows, torch.ones(12), 7, seed=0)) == 3


def test_reading_rendered_coordinates_is_the_cosine_of_the_embedding_they_stand_for():
    generator = torch.Generator().manual_seed(0)
    tables = [0.9 * F.normalize(torch.randn(9, 12, generator=generator), dim=1) for _ in range(2)]
    codebook = Codebook({"s": tables[0], "m": tables[1]}, principal_directions(tables, 12))
    shares = torch.rand(5, 9, generator=generator)
    vectors = F.normalize(torch.randn(3, 12, generator=generator), dim=1)
    found = codebook.readout(vectors)(shares @ codebook.coordinates("m"))
    torch.testing.assert_close(found, F.normalize(shares @ tables[1], dim=1) @ vectors.T)  # all directions: nothing is lost
    torch.testing.assert_close(codebook.scores(vectors, "m"), tables[1] @ vectors.T)
    torch.testing.assert_close(codebook.gram("s"), tables[0] @ tables[0].T)
    kept = principal_directions(tables, 4)
    torch.testing.assert_close(kept @ kept.T, torch.eye(4), atol=1e-6, rtol=0)


def test_codebooks_come_back_from_their_files_and_others_are_refused(tmp_path):
    tables = {"s": torch.rand(4, 6) + 0.1, "l": torch.zeros(1, 6)}
    write_compressor(tmp_path / "c.pth", Codebook(tables, torch.eye(3, 6)))
    found = read_compressor(tmp_path / "c.pth")
    assert (found.levels, found.feature_width, found.code_width) == (("s",), 6, 3)
    assert torch.equal(found.centroids("s"), tables["s"])
    with pytest.raises(InputError, match="at level s, not at 'l'"):
        found.centroids("l")
    state = {"centroids_s": torch.zeros(4, 6), "centroids_m": torch.zeros(4, 7), "basis": torch.eye(3, 6)}
    for broken in (state, {"centroids_s": torch.zeros(4, 6)}, {**state, "more": torch.zeros(2)}):
        torch.save(broken, tmp_path / "c.pth")
        with pytest.raises(InputError, match=r"expected centroids_<level> \[codes, d\] and basis"):
            read_compressor(tmp_path / "c.pth")


def test_wrong_sizes_and_scenes_without_segments_are_refused(scene_folder, tmp_path):
    for size in (0, 2**16):
        with pytest.raises(InputError, match=f"--codebook_size {size}: expected 1 to 65535"):
            _run(scene_folder, tmp_path / "m", codebook_size=size)
    with pytest.raises(InputError, match=f"--code_width 40: .* only {FEATURE_WIDTH} wide"):
        _run(scene_folder, tmp_path / "m", code_width=40)
    with pytest.raises(InputError, match="--codebook_size is of --method codebook; the method is pca"):
        _run(scene_folder, tmp_path / "m", method="pca", codebook_size=8)
    root = write_small_segments(write_small_scene(_made(tmp_path / "scene")))
    store = open_store(SceneFolder(root), "mini")
    for key in store.keys():
        segments = store.read(key)
        store.write(key, Segments(segments.embeddings, np.full_like(segments.maps, -1)))
    with pytest.raises(InputError, match="has no segment in any image"):
        _run(root, tmp_path / "m")


def _made(folder):
    folder.mkdir()
    return folder

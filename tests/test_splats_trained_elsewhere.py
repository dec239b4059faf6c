"""Gaussians trained elsewhere, with cameras and photographs: from their .ply to objects, edits and pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement
from small_features import FEATURE_WIDTH, GROUPS, _embeddings, write_small_segments
from small_scene import write_small_scene

from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder
from gaussian_renderer.render_photographs import RenderConfig, render_photographs
from query.locate import LocateConfig, locate
from scene.dataset import load_scene
from scene.gaussian_files import save_ply
from scene.gaussian_model import GaussianModel
from scene.ply import read_vertices
from training.language import train_language
from training.language_config import LanguageTrainConfig
from training.rgb_trainer import RgbTrainConfig, train_rgb
from workspace import ModelFolder, load_array, read_json

THING = 5  # one of the six slices of the small scene


class Slices:
    """A text encoder that knows the slices of the small scene."""

    negatives = ("object",)
    temperature = 10.0
    width = FEATURE_WIDTH

    def embed(self, phrases):
        generator = torch.Generator().manual_seed(3)
        tables = [_embeddings(count, generator) for count in GROUPS.values()]
        rest = torch.nn.functional.normalize(torch.cat(tables).mean(0), dim=0)
        return torch.stack([tables[1][THING] if phrase == "bottom slice" else rest for phrase in phrases])


def _splats_of_another_trainer(path, scene):
    """SH of degree 1, another order of properties, two that we do not know, values that are not rounded, big-endian."""
    generator = torch.Generator().manual_seed(7)
    gaussians = GaussianModel.from_points(scene.points, scene.colors, sh_degree=1)
    gaussians.log_scales[:] = np.log(0.18) + 0.1 * torch.randn(gaussians.log_scales.shape, generator=generator)
    gaussians.opacity_logits[:] = 3.0
    gaussians.sh_rest[:] = 0.05 * torch.randn(gaussians.sh_rest.shape, generator=generator)
    gaussians.quats[:] = torch.randn(gaussians.quats.shape, generator=generator)
    save_ply(path, gaussians)
    vertices = read_vertices(path)
    names = ["opacity", *(name for name in reversed(vertices.dtype.names) if name != "opacity")]
    reordered = np.empty(len(vertices), [*((name, "<f4") for name in [*names, "filter_3D"]), ("label", "<i2")])
    for name in names:
        reordered[name] = vertices[name]
    reordered["filter_3D"] = torch.rand(len(vertices), generator=generator).numpy()
    reordered["label"] = np.arange(len(vertices)) % 1000 - 500
    reordered["nx"] = 0.25
    PlyData([PlyElement.describe(reordered, "vertex")], byte_order=">").write(str(path))
    return reordered


@pytest.fixture(scope="module")
def located(tmp_path_factory):
    """The foreign vertices, and the model folder after every stage."""
    root = tmp_path_factory.mktemp("elsewhere")
    (root / "scene").mkdir()
    write_small_segments(write_small_scene(root / "scene"))
    foreign = _splats_of_another_trainer(root / "theirs.ply", load_scene(root / "scene"))
    place = {"source_path": root / "scene", "model_path": root / "model", "device": "cpu"}
    train_rgb(RgbTrainConfig(start_checkpoint=root / "theirs.ply", iterations=0, **place))
    train_autoencoder(AutoencoderConfig(method="codebook", **place))
    train_language(LanguageTrainConfig(**place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("query.session.text_encoder", lambda *_: Slices())
        locate(
            LocateConfig(
                model_path=root / "model",
                text=("bottom slice",),
                neighbours=1,
                min_gaussians=2,
                threshold=0.6,
                grow=1.0,
                extract=True,
                remove=True,
                recolor=(0, 0, 255),
                device="cpu",
            )  # fmt: skip
        )
    return foreign, ModelFolder(root / "model", "lifted")


def _members(model):
    found = read_json(model.located)["objects"]
    return np.sort(np.concatenate([load_array(model.objects / one["indices"]) for one in found]))


def test_the_right_gaussians_of_the_file_are_found(located):
    foreign, model = located
    things = foreign["y"].argsort().argsort() * 6 // len(foreign)
    truth = np.flatnonzero(things == THING)
    members = _members(model)
    # Gaussians at the border of two slices are seen as either
    assert np.isin(members, truth).mean() > 0.8 and np.isin(truth, members).mean() > 0.6


def test_edits_keep_every_value_of_the_file(located):
    foreign, model = located
    gone, painted = (read_vertices(model.object_splats("bottom slice", name)) for name in ("removed", "recolored"))
    members = _members(model)
    kept = np.setdiff1d(np.arange(len(foreign)), members)
    assert len(gone) == len(kept) > 0
    assert gone.dtype == painted.dtype == foreign.dtype
    for name in foreign.dtype.names:
        assert gone[name].tobytes() == foreign[name][kept].tobytes(), name
        if not name.startswith("f_"):
            assert painted[name].tobytes() == foreign[name].tobytes(), name
    alone = [read_vertices(path) for path in model.object_folder("bottom slice").glob("instance_*.ply")]
    assert sum(map(len, alone)) == len(members)


def test_the_edited_scene_is_drawn_without_the_thing(located):
    _, model = located
    for splats in (None, model.object_splats("bottom slice", "removed"), model.object_splats("bottom slice", "recolored")):
        render_photographs(RenderConfig(model_path=model.root, names=("view_06",), splats=splats, device="cpu"))
    folder = model.root / "renders" / "train"
    whole, gone, blue = (
        np.asarray(Image.open(folder / part / "view_06.png"), float)
        for part in ("rgb", "splats/bottom_slice_removed", "splats/bottom_slice_recolored")
    )
    changed = np.abs(whole - gone).max(2) > 20
    rows = np.flatnonzero(changed.any(1))
    assert changed.sum() > 20 and rows.mean() > len(whole) / 2  # y points down: the thing is in the lower half
    assert (blue - whole)[changed][:, 2].mean() > 20 > (blue - whole)[~changed][:, 2].mean()

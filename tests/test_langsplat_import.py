"""Files of the exact shape LangSplat releases become a model folder that its own parts would have written."""

import numpy as np
import pytest
import torch
from small_scene import write_small_scene

from autoencoder.kinds import load_compressor, write_compressor
from autoencoder.network import Autoencoder, published_widths
from gaussian_renderer import render
from gaussian_renderer.trained_model import load_trained
from query.loading import load_field
from training.langsplat_import import ImportConfig, import_langsplat
from workspace import InputError, ModelFolder, read_json

NUM_GAUSSIANS = 50


def _checkpoint(path, language, seed=0, iteration=30000):
    """(13-tuple, iteration): parameters that need gradients, optimizer state, and a numpy scalar, as the trainer saves them."""
    generator = torch.Generator().manual_seed(seed)

    def parameter(*shape, scale=1.0):
        return torch.nn.Parameter(torch.randn(*shape, generator=generator) * scale)

    n = NUM_GAUSSIANS
    language = None if language is None else torch.nn.Parameter(language)
    optimizer = torch.optim.Adam([language if language is not None else parameter(n, 3)], lr=2.5e-3, eps=1e-15)
    rgb = [3, parameter(n, 3, scale=0.5), parameter(n, 1, 3), parameter(n, 15, 3, scale=0.1), parameter(n, 3, scale=0.2)]
    rgb[4].data -= 2
    rgb += [parameter(n, 4), parameter(n, 1)]
    rest = [torch.zeros(n), torch.zeros(n, 1), torch.zeros(n, 1), optimizer.state_dict(), np.float64(4.5)]
    state = tuple(rgb + ([] if language is None else [language]) + rest)
    assert len(state) == (12 if language is None else 13)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save((state, iteration), path)
    return path


@pytest.fixture
def release(tmp_path):
    """Scene, three checkpoints as released (one folder per level), autoencoder."""
    (tmp_path / "scene").mkdir()
    write_small_scene(tmp_path / "scene")
    codes = [torch.randn(NUM_GAUSSIANS, 3, generator=torch.Generator().manual_seed(level)) for level in (1, 2, 3)]
    paths = [_checkpoint(tmp_path / f"scene_{level}" / "chkpnt30000.pth", codes[level - 1]) for level in (1, 2, 3)]
    torch.manual_seed(0)
    write_compressor(tmp_path / "best_ckpt.pth", Autoencoder(*published_widths(512, 3)))
    return tmp_path, tuple(paths), codes


def _import(root, paths, **changes):
    settings = {"autoencoder": root / "best_ckpt.pth", "model_path": root / "model", **changes}
    import_langsplat(ImportConfig(root / "scene", paths, **settings))
    return ModelFolder(root / "model")


def test_three_checkpoints_and_an_autoencoder_become_a_model_that_renders_their_codes(release):
    root, paths, codes = release
    model = _import(root, paths)
    trained = load_trained(model)
    assert trained.iteration == 30000 and len(trained.gaussians) == NUM_GAUSSIANS
    assert load_compressor(model).feature_width == 512
    camera = trained.scene().train[2]
    field = load_field(model, torch.device("cpu"))
    assert field.levels == ("s", "m", "l") and field.features.text("clip_pretrained") == "laion2b_s34b_b88k"
    for shown, level in zip(field.view(camera).codes, codes, strict=True):
        published = level / (level.norm(dim=-1, keepdim=True) + 1e-9)
        expected = render(camera, trained.gaussians, None, published).image
        torch.testing.assert_close(shown, expected, rtol=0, atol=1e-5)  # float32 sums in another order
    for level, values in zip(("s", "m", "l"), codes, strict=True):
        np.testing.assert_array_equal(np.load(model.level_codes(level)), values.numpy())


def test_one_level_only_and_a_second_run_of_the_same_command(release):
    root, paths, codes = release
    model = _import(root, paths[1:2], levels=("m",))
    _import(root, paths[1:2], levels=("m",))
    assert read_json(model.language / "stage.json")["config"]["levels"] == ["m"]
    np.testing.assert_array_equal(np.load(model.level_codes("m")), codes[1].numpy())
    with pytest.raises(InputError, match="from other inputs:(.|\n)*inputs.checkpoints.l: not there before"):
        _import(root, paths)


def test_checkpoints_of_different_gaussians_are_refused(release):
    root, paths, codes = release
    _checkpoint(paths[2], codes[2], seed=9)
    with pytest.raises(InputError, match=r"scene_3/chkpnt30000.pth \(50 Gaussians\) and .*scene_1/chkpnt30000.pth .* different"):
        _import(root, paths)


def test_wrong_files_are_refused_by_name(release):
    root, paths, codes = release
    with pytest.raises(InputError, match="2 checkpoints for the levels s m l"):
        _import(root, paths[:2])
    _checkpoint(root / "rgb.pth", None)
    with pytest.raises(InputError, match="rgb.pth has no language feature"):
        _import(root, (root / "rgb.pth", *paths[1:]))
    _checkpoint(root / "wide.pth", torch.randn(NUM_GAUSSIANS, 8))
    with pytest.raises(InputError, match="wide.pth has codes of 8 channels"):
        _import(root, (root / "wide.pth", *paths[1:]))
    with pytest.raises(InputError, match="scene_1/chkpnt30000.pth .*expected the state dict of a LangSplat autoencoder"):
        _import(root, paths, autoencoder=paths[0])
    assert not (root / "model").exists()

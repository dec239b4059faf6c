"""Gaussians survive their files, and files of others are read or refused by name."""

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from scene.gaussian_files import load_checkpoint, load_gaussians, load_ply, save_ply
from scene.gaussian_model import GaussianModel, num_sh_rest
from workspace import InputError

RAW = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")


def some_gaussians(degree: int = 3, n: int = 5) -> GaussianModel:
    generator = torch.Generator().manual_seed(0)
    shapes = {"means": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (1,), "sh_dc": (1, 3)}
    shapes["sh_rest"] = (num_sh_rest(degree), 3)
    raw = {name: torch.randn(n, *shape, generator=generator) for name, shape in shapes.items()}
    return GaussianModel(**raw, active_sh_degree=degree)


def reference_tuple(g: GaussianModel, spatial_lr_scale: object = 3.5) -> tuple:
    p = torch.nn.Parameter
    n = len(g)
    optimizer = {"state": {0: {"exp_avg": torch.zeros(n, 3)}}, "param_groups": [{"lr": 1e-3, "params": [0], "name": "xyz"}]}
    parameters = (p(g.means), p(g.sh_dc), p(g.sh_rest), p(g.log_scales), p(g.quats), p(g.opacity_logits))
    return (2, *parameters, torch.zeros(n), torch.zeros(n, 1), torch.zeros(n, 1), optimizer, spatial_lr_scale)


def assert_same(a: GaussianModel, b: GaussianModel):
    for name in RAW:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ply_round_trip_is_exact(tmp_path, degree):
    gaussians = some_gaussians(degree)
    save_ply(tmp_path / "a" / "point_cloud.ply", gaussians)
    loaded = load_ply(tmp_path / "a" / "point_cloud.ply")
    assert_same(loaded, gaussians)
    assert loaded.max_sh_degree == loaded.active_sh_degree == degree
    assert loaded.geometry_hash() == gaussians.geometry_hash()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["point_cloud.ply"]


def test_ply_has_the_standard_order_and_channel_major_coefficients(tmp_path):
    gaussians = some_gaussians()
    save_ply(tmp_path / "a.ply", gaussians)
    ply = PlyData.read(tmp_path / "a.ply")
    expected = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2".split() + [f"f_rest_{i}" for i in range(45)]
    expected += "opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
    assert [p.name for p in ply["vertex"].properties] == expected
    assert all(p.val_dtype == "f4" for p in ply["vertex"].properties) and ply.byte_order == "<"
    np.testing.assert_array_equal(ply["vertex"]["f_rest_15"], gaussians.sh_rest[:, 0, 1])  # first green one
    np.testing.assert_array_equal(ply["vertex"]["rot_0"], gaussians.quats[:, 0])


def test_ply_with_more_properties_and_without_normals(tmp_path):
    gaussians = some_gaussians()
    save_ply(tmp_path / "a.ply", gaussians)
    old = PlyData.read(tmp_path / "a.ply")["vertex"].data
    names = [name for name in old.dtype.names if name not in ("nx", "ny", "nz")]
    new = np.zeros(len(old), [("red", "u1"), *((name, "f8") for name in names[::-1])])  # other order, other type
    for name in names:
        new[name] = old[name]
    PlyData([PlyElement.describe(new, "vertex")], text=True).write(tmp_path / "b.ply")
    assert_same(load_ply(tmp_path / "b.ply"), gaussians)


@pytest.mark.parametrize("scalar", [np.float64(3.5), np.float32(3.5), 3.5])
def test_reference_checkpoint(tmp_path, scalar):
    gaussians = some_gaussians()
    torch.save((reference_tuple(gaussians, scalar), 7000), tmp_path / "chkpnt7000.pth")
    loaded, language, iteration = load_checkpoint(tmp_path / "chkpnt7000.pth")
    assert_same(loaded, gaussians)
    assert (loaded.active_sh_degree, loaded.max_sh_degree, language, iteration) == (2, 3, None, 7000)
    assert not loaded.means.requires_grad
    assert_same(load_gaussians(tmp_path / "chkpnt7000.pth"), gaussians)


def test_language_checkpoint(tmp_path):
    gaussians, feature = some_gaussians(), torch.randn(5, 3)
    state = reference_tuple(gaussians)
    torch.save(((*state[:7], torch.nn.Parameter(feature), *state[7:]), 30_000), tmp_path / "c.pth")
    loaded, language, iteration = load_checkpoint(tmp_path / "c.pth")
    assert_same(loaded, gaussians)
    torch.testing.assert_close(language, feature, rtol=0, atol=0)
    assert iteration == 30_000
    torch.save(((*state[:7], feature[:4], *state[7:]), 1), tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"\(4, 3\) for 5 Gaussians"):
        load_checkpoint(tmp_path / "c.pth")


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path, capsys):
    torch.save((reference_tuple(some_gaussians(), Malicious()), 1), tmp_path / "c.pth")
    with pytest.raises(InputError, match="not safe to load"):
        load_checkpoint(tmp_path / "c.pth")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"means": torch.zeros(3, 3)}, (1, 2, 3), ((1, 2), 3)])
def test_other_torch_files_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(InputError, match="not a checkpoint of a 3DGS trainer"):
        load_gaussians(tmp_path / "c.pth")


def test_checkpoint_with_tensors_of_different_lengths(tmp_path):
    state = list(reference_tuple(some_gaussians()))
    state[4] = state[4][:3]
    torch.save((tuple(state), 1), tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"log_scales has shape \(3, 3\), expected \(5, 3\)"):
        load_checkpoint(tmp_path / "c.pth")


def test_wrong_files_are_named(tmp_path):
    def refused(name: str, content: bytes, match: str):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=match):
            load_gaussians(tmp_path / name)

    save_ply(tmp_path / "good.ply", some_gaussians())
    good = (tmp_path / "good.ply").read_bytes()
    refused("cut.ply", good[:-10], "cut short")
    refused("renamed.ply", b"\xff\xd8\xff\xe0 a jpeg", "neither")
    refused("empty.ply", b"", "neither")
    refused("half.ply", good.replace(b"property float opacity\n", b"property float opacitx\n"), "no opacity")
    refused("nan.ply", good[:-4] + np.float32(np.nan).tobytes(), "1 of 5 Gaussians have quats")
    refused("odd.ply", good.replace(b"property float f_rest_44\n", b"property float f_test_44\n"), "44 f_rest")
    torch.save((reference_tuple(some_gaussians()), 1), tmp_path / "good.pth")
    refused("cut.pth", (tmp_path / "good.pth").read_bytes()[:-200], "cut short")
    with pytest.raises(InputError, match="No file"):
        load_gaussians(tmp_path / "none.ply")
    with pytest.raises(InputError, match="is a folder"):
        load_gaussians(tmp_path)


def test_mesh_without_gaussians(tmp_path):
    PlyData([PlyElement.describe(np.zeros(2, [("x", "f4"), ("y", "f4"), ("z", "f4")]), "vertex")]).write(tmp_path / "m.ply")
    with pytest.raises(InputError, match="not a 3DGS file: its vertices have no f_dc_0"):
        load_gaussians(tmp_path / "m.ply")

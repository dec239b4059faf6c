"""doctor.py names what is missing and the command that brings it, and its exit code can be relied on."""

import importlib.metadata
import sys

import pytest

import doctor
from features import graph_segments, mini


@pytest.fixture
def report(capsys):
    def run() -> tuple[int, str]:
        code = doctor.main([])
        return code, capsys.readouterr().out

    return run


def test_this_installation_runs_the_demo(report):
    code, text = report()
    assert code == (0 if mini.WEIGHTS.is_file() and graph_segments.WEIGHTS.is_file() else 1)
    lines = {line[6:34].strip(): line[2:4] for line in text.splitlines() if line[:2] == "  "}
    for name in ("python", "torch", "pycolmap", "rasterizer, CPU", "simple-knn, CPU", "convert.py"):
        assert lines[name] == "ok", name
    assert "avx2" in text or "scalar" in text


def test_everything_missing_has_a_command():
    for title, section in doctor.SECTIONS:
        for finding in section():
            assert finding.ok or finding.fix, (title, finding)


def test_missing_package(report, monkeypatch):
    def version(name: str) -> str:
        if name == "pycolmap":
            raise importlib.metadata.PackageNotFoundError
        return "99"

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, text = report()
    assert code == 1
    assert "--  pycolmap" in text and "pip install -r requirements.txt" in text
    assert "convert.py                  no, for want of: pycolmap" in text


def test_old_package(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.13.1+cu117" if name == "torch" else "99")
    bad = [finding for finding in doctor.packages() if not finding.ok]
    assert [finding.name for finding in bad] == ["torch"] and bad[0].text.startswith("1.13.1+cu117, needs 2.")


@pytest.mark.parametrize(
    ("module", "name", "fix"),
    [
        ("diff_gaussian_rasterization", "rasterizer", "pip install ./submodules/diff-gaussian-rasterization"),
        ("simple_knn", "simple-knn", "pip install ./submodules/simple-knn"),
    ],
)
def test_missing_backend(report, monkeypatch, module, name, fix):
    monkeypatch.setitem(sys.modules, module, None)  # what an import of an absent module does
    code, text = report()
    assert code == 1 and f"--  {name} " in text and fix in text.split("To run the demo:")[1]


def test_gpu_without_a_backend_for_it():
    finding = doctor._cuda_backend("rasterizer", {"cuda": ""}, gpu=True, folder="submodules/x")
    assert not finding.ok and not finding.required and "--force-reinstall --no-deps ./submodules/x" in finding.fix
    assert doctor._cuda_backend("rasterizer", {"cuda": ""}, gpu=False, folder="x").ok


def test_says_what_was_built_and_the_driver_it_needs():
    built = {"cuda": "12.4", "architectures": "80-real 90"}
    text = doctor._cuda_backend("rasterizer", built, gpu=True, folder="x").text
    assert "CUDA 12.4" in text and "80-real 90" in text and "driver 525 or later" in text


def test_weights_in_other_places_are_found_and_the_flag_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sam_vit_h_4b8939.pth").write_bytes(b"x")
    sam = next(finding for finding in doctor.weights() if finding.name == "SAM")
    assert sam.ok and "add --sam_ckpt_path models/sam_vit_h_4b8939.pth" in sam.text


def test_arguments_it_does_not_know_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        doctor.main(["--fix"])
    assert stopped.value.code == 2 and "unrecognized arguments: --fix" in capsys.readouterr().err
    for flags, expected in ((["--sam_ckpt_path", "a.pth"], "belong to --weights"), (["--plan", "x", "--weights"], "two reports")):
        with pytest.raises(SystemExit):
            doctor.main(flags)
        assert expected in capsys.readouterr().err

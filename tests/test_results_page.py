"""docs/results.md prints the figures that the tables of the programs print."""

import re
from pathlib import Path

import pytest

from evaluation import scan_segmentation, selection_table
from evaluation.catalogue import PROTOCOLS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
TITLES = {
    "localization_accuracy": "localisation accuracy",
    "miou": "mIoU",
    "argmax_miou": "mIoU",
}
SECTIONS = {"lerf_ovs": "LERF-OVS, 2D", "3d_ovs": "3D-OVS", "mipnerf360_gags": "Mip-NeRF360-OV"}


def section(start):
    found = [part for part in PAGE.split("\n## ") if part.startswith(start)]
    assert len(found) == 1, start
    return found[0]


def row(part, method):
    """Cells of a method's row without name and source; what a table adds to a name follows a comma."""
    line = next(line for line in part.splitlines() if re.match(rf"\| {re.escape(method)}(,| \|)", line))
    return [cell.strip() for cell in line.split("|")[2:-2]]


def columns(part):
    line = next(line for line in part.splitlines() if line.startswith("| method"))
    return [cell.strip().replace("kitchen", "waldo_kitchen") for cell in line.split("|")[2:-2]]


@pytest.mark.parametrize("name", list(SECTIONS))
def test_figures_of_the_2d_protocols(name):
    for measure in PROTOCOLS[name].measures:
        part = section(f"{SECTIONS[name]}, {TITLES[measure.name]}")
        assert columns(part) == [*PROTOCOLS[name].scenes, "mean"]
        for method, figures in measure.published.items():
            assert row(part, method) == [f"{value:.1f}" for value in figures]


def test_figures_of_object_selection():
    part = section("LERF-OVS, 3D object selection")
    assert columns(part) == [*selection_table.SCENES, "mean"]
    for method, cells in selection_table.PUBLISHED.items():
        assert row(part, method) == ["" if cell == "-" else cell for cell in cells]


def test_figures_of_scannet():
    part = section("ScanNet")
    for method, cells in scan_segmentation.PUBLISHED.items():
        assert row(part, method) == [re.sub(r" / (.*)", r" (\1)", cell) for cell in cells]

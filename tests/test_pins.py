"""The versions that `make` installs: every requirement has one, within its own bounds."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-"))]


def test_every_requirement_is_pinned_within_its_bounds_and_has_a_lower_bound():
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, lines("constraints.txt"))}
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) and str(pin.marker) for pin in pins.values())
    optional = ("viewer", "browser", "transformers")
    pinned = ("requirements.txt", "requirements-dev.txt", *(f"requirements-{name}.txt" for name in optional))
    for requirement in (Requirement(line) for name in pinned for line in lines(name)):
        pin = pins[canonicalize_name(requirement.name)]
        version = str(pin.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} and {pin}"
        assert re.search(r"[>~=]=", str(requirement.specifier)), f"`make lowest` cannot test {requirement}"


def test_the_build_requirements_are_pinned():
    if sys.version_info < (3, 11):
        pytest.skip("pyproject.toml is read by tomllib, from Python 3.11 on")
    import tomllib

    pins = {canonicalize_name(Requirement(line).name) for line in lines("constraints.txt")}
    for path in (ROOT / "submodules").glob("*/pyproject.toml"):
        needed = tomllib.loads(path.read_text())["build-system"]["requires"]
        assert {canonicalize_name(Requirement(text).name) for text in needed} <= pins

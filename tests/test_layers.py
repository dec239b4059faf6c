"""Scripts stand above all rooms: they may import any of them, and none of them imports a script. The linter checks the rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def _imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_a_script(room):
    offenders = {str(path): found for path in (ROOT / room).rglob("*.py") if (found := _imported(path) & SCRIPTS - {room})}
    assert not offenders


def test_every_room_is_in_the_contract_of_the_linter():
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.importlinter]")[2]
    listed = contract.partition("root_packages = [")[2].partition("]")[0]
    assert sorted(name.strip().strip('"') for name in listed.split(",") if name.strip()) == [
        r for r in ROOMS if r != "benchmarks"
    ]


def test_scripts_import_rooms_and_no_script():
    """`viewer` is the room: a package comes before a module of the same name."""
    for script in SCRIPTS:
        assert not _imported(ROOT / f"{script}.py") & SCRIPTS - set(ROOMS)

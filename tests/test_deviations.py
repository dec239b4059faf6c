"""The page of deviations and the comments in the code name each other."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "deviations.md"
WORDS = "Deviates from"


def test_every_row_has_its_comment_and_every_comment_its_row():
    if not (ROOT / ".git").exists():
        pytest.skip("the files of the repository are known to git alone")
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.h", "*.cpp", "*.cu", "*.cuh"], cwd=ROOT, capture_output=True, text=True
    )
    commented = {
        name
        for name in listed.stdout.split()
        if not name.startswith("tests/") and WORDS in (ROOT / name).read_text(encoding="utf-8")
    }
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    named = {re.search(r"`([^`]+)` \|$", row).group(1) for row in rows}
    assert len(rows) > 20 and named == commented

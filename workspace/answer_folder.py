"""Where an evaluation writes its files."""

from dataclasses import dataclass
from pathlib import Path

from workspace.scene_folder import inside


@dataclass(frozen=True)
class AnswerFolder:
    """Paths of the files that an evaluation writes."""

    root: Path

    @property
    def metrics(self) -> Path:
        """Summary and per-query rows."""
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        """Self-contained HTML page."""
        return self.root / "report.html"

    def pictures(self, key: str) -> Path:
        """Folder of the pictures of one view's answers."""
        return inside(self.root, key)

    def picture(self, key: str, name: str) -> Path:
        """Picture of one answer in one view; `name` is the phrase as a file name."""
        return inside(self.pictures(key), f"{name}.png")

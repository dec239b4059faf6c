"""Temperature and negatives that were calibrated for a language field, kept with it for every later question."""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from workspace import InputError, ModelFolder, read_json, write_json
from workspace.owned_files import OwnedFiles


@dataclass(frozen=True)
class Calibration:
    """What relevancy is computed with, and the labels that it was chosen by."""

    temperature: float
    negatives: tuple[str, ...]
    labels: str
    """Folder of the labels."""
    chosen_in: tuple[str, ...]
    """Views that the values were chosen in."""

    def __str__(self) -> str:
        return f"temperature {self.temperature:g}, negatives {', '.join(self.negatives)}"


def read_calibration(model: ModelFolder) -> Calibration | None:
    """The calibration of the field, None when there is none; InputError when the file is damaged."""
    path = model.calibration
    if not path.is_file():
        return None
    try:
        found = msgspec.convert(read_json(path)["chosen"], Calibration)
        valid = 0 < found.temperature < float("inf") and found.negatives and all(text.strip() for text in found.negatives)
    except (KeyError, TypeError, msgspec.ValidationError):
        valid = False
    if not valid:
        raise InputError(f"{path} is no calibration of a language field. Delete it, or: {_command(model)}")
    return found


def write_calibration(model: ModelFolder, chosen: Calibration, figures: dict[str, object]) -> Path:
    """Record a calibration with the field, so that replacing the field removes it."""
    OwnedFiles(model.language).add(model.calibration)
    write_json(model.calibration, {"chosen": asdict(chosen), **figures})
    return model.calibration


def _command(model: ModelFolder) -> str:
    return f"python -m evaluation.calibration -m {model.root}{model.flag} --labels <folder>"

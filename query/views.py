"""Selection of the views that a question is answered in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scene.camera import Camera
from scene.dataset import Scene
from scene.image_names import match_names
from workspace import InputError

TRAINING, HELD_OUT = "training", "held-out"
Split = Literal["training", "held-out"]
SplitChoice = Literal["train", "test", "all"]
_CHOSEN = {"train": (TRAINING,), "test": (HELD_OUT,), "all": (TRAINING, HELD_OUT)}


@dataclass(frozen=True)
class View:
    """One camera of the scene, and whether RGB training saw its photograph."""

    camera: Camera
    split: Split

    @property
    def name(self) -> str:
        """Key of the image."""
        return self.camera.name


def choose_views(scene: Scene, split: SplitChoice = "all", names: Sequence[str] = ()) -> list[View]:
    """Views of the split, only those in `names` when given, sorted by name.

    Raises:
        InputError: a name is not an image of the scene, or no view is left.
    """
    views = [View(camera, TRAINING) for camera in scene.train] + [View(camera, HELD_OUT) for camera in scene.test]
    views.sort(key=lambda view: view.name)
    keys = [view.name for view in views]
    chosen = set(match_names(names, keys).values()) if names else set(keys)
    left = [view for view in views if view.name in chosen and view.split in _CHOSEN[split]]
    if not left:
        raise no_views(scene, split, len(chosen))
    return left


def no_views(scene: Scene, split: SplitChoice, asked: int, kind: str = "") -> InputError:
    """Error for no view (of that `kind`) left among the `asked` ones."""
    return InputError(
        f"No {kind}view to look at, of {len(scene.train)} training and {len(scene.test)} held-out "
        f"views, {asked} asked for, with --split {split}. Views are held out when RGB training runs with --eval."
    )

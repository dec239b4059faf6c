"""Time of the viewer's pictures on the server: from a visitor's change to the encoded picture, without network and browser.

    python -m benchmarks.viewer [--gaussians 70000 1000000 --size 960]

The scene is random Gaussians in a room; a lifted field gives every cell of it a code of its own. The named alternative is the
per-pixel answer of the published protocol to the same phrase in the same view, as eval_query.py computes it.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from autoencoder.codebook import Codebook, principal_directions
from autoencoder.mixtures import Mixtures
from benchmarks.timing import median_seconds
from gaussian_renderer.trained_model import TrainedModel
from query.answer_rule import answer
from query.mixture_field import MixtureField
from query.open_model import OpenModel
from query.phrase_answer import PhraseAnswer
from query.phrases import PhraseMemory
from query.pictures import encoded
from query.session import Session, SessionConfig
from query.tables import table
from scene.camera import Camera
from scene.dataset import Scene
from scene.gaussian_model import GaussianModel
from viewer.backends import COARSE, QUALITY, Picture, splat_colors
from viewer.frames import FrameRenderer
from viewer.overlay import UNEDITED, Overlay, overlay_of
from viewer.state import ViewState
from workspace import ModelFolder, SceneFolder, command_line
from workspace.record_types import FeatureSettings, RgbSettings

LEVELS, WIDTH, CELLS, COORDINATES = ("s", "m", "l"), 512, 6, 32
SHARES = (0.7, 0.1, 0.1, 0.1)  # of the four codes of a Gaussian: its cell's, and three at random


@dataclass(frozen=True)
class ViewerBenchmarkConfig:
    """What to measure."""

    gaussians: tuple[int, ...] = (70_000, 1_000_000)
    """Gaussians of the scenes."""
    size: int = 960
    """Width of the picture, pixels; it is three quarters as high."""
    repeats: int = 5
    """Timings of each; the median is printed."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""


def main(config: ViewerBenchmarkConfig) -> None:
    """Time the viewer's pictures."""
    print(
        f"{config.size}x{config.size * 3 // 4} pixels, {config.device}, {torch.get_num_threads()} threads; ms, and JPEG included"
    )
    for count in config.gaussians:
        rows = _measured(config, count)
        alternative = rows.pop("the protocol's answer per pixel, prepared view included")
        cells = [[name, f"{1000 * seconds:.0f}", f"{alternative / seconds:.1f}x"] for name, seconds in rows.items()]
        cells.append(["the protocol's answer per pixel, prepared view included", f"{1000 * alternative:.0f}", "1x"])
        print(table([f"{count:,} Gaussians", "ms", "ratio"], cells))
        coarse = next(seconds for name, seconds in rows.items() if name.startswith("moving"))
        print(f"{1 / coarse:.1f} pictures a second while moving; {32 * count / 1e6:.1f} MB of splats for WebGL")


def _measured(config: ViewerBenchmarkConfig, count: int) -> dict[str, float]:
    model, cameras = _room(config, count)
    model.warm(10)
    renderer = FrameRenderer(model.gaussians, model.session.field.trained.background)
    numbers, turns = itertools.count(), itertools.cycle(cameras)
    median = partial(median_seconds, repeats=config.repeats, device=model.session.device)

    def ask(state: ViewState) -> PhraseAnswer:
        found = model.ask(state.phrase, threshold=state.threshold)
        assert found.instances, "the phrase is somewhere in the room"
        return found

    def draw(overlay: Overlay | None, camera: Camera, opacity: float = 0.8, coarse: bool = False) -> None:
        picture = renderer.frame(camera, UNEDITED, (0, 0, 0), overlay, opacity, True, coarse)
        encoded(picture, ".jpg", [1, QUALITY[coarse]])

    def new_phrase() -> ViewState:
        return ViewState(phrase=f"cell {next(numbers)}", show="Mask")

    def answer_and_draw(state: ViewState) -> None:
        draw(overlay_of(state, ask(state)), cameras[0])

    asked = new_phrase()
    overlay = overlay_of(asked, ask(asked))
    draw(overlay, cameras[0])
    thresholds, opacities = itertools.cycle((0.55, 0.6)), itertools.cycle((0.5, 0.7))
    small_turns = itertools.cycle([camera.resized(COARSE[0], COARSE[0] * 3 // 4) for camera in cameras])
    rows = {
        "Enter: a new phrase": median(lambda: answer_and_draw(new_phrase())),
        "another threshold": median(lambda: answer_and_draw(asked.changed(threshold=next(thresholds)))),
        "another opacity": median(lambda: draw(overlay, cameras[0], next(opacities))),
        "another camera, still": median(lambda: draw(overlay, next(turns))),
        f"moving, {COARSE[0]} pixels wide": median(lambda: draw(overlay, next(small_turns), coarse=True)),
    }

    def recolored() -> None:
        state = new_phrase()
        splat_colors(model.gaussians, Picture(state, overlay_of(state, ask(state)), UNEDITED))

    def per_pixel() -> None:
        question = model.session.question([f"cell {next(numbers)}"])
        view = model.session.field.view(cameras[0])
        answer(question.relevancy(view)[:, 0])

    rows["a new phrase, colours for WebGL"] = median(recolored)
    rows["the protocol's answer per pixel, prepared view included"] = median(per_pixel)
    return rows


def _room(config: ViewerBenchmarkConfig, count: int) -> tuple[OpenModel, list[Camera]]:
    """A box of Gaussians seen from its front, and cameras that pass it."""
    generator, device = torch.Generator().manual_seed(0), torch.device(config.device)
    place = torch.rand(count, 3, generator=generator)
    points = (place - 0.5) * torch.tensor([4.0, 3.0, 4.0])
    gaussians = GaussianModel.from_points(points, 255 * torch.rand(count, 3, generator=generator)).to(device)
    trained = TrainedModel(ModelFolder(Path("no model folder")), gaussians, 0, RgbSettings("", "", 1, False, False), {})
    height, focal = config.size * 3 // 4, 0.9 * config.size
    cameras = []
    for index in range(8):
        world_to_camera = np.eye(4)
        world_to_camera[:3, 3] = (0.02 * index, 0.0, 3.5)
        cameras.append(Camera(f"view_{index}", world_to_camera, focal, focal, config.size / 2, height / 2, config.size, height))
    cells = (place * CELLS).long() @ torch.tensor([CELLS * CELLS, CELLS, 1])
    field, encoder = _field(trained, cells, generator)
    folder = SceneFolder(Path("no scene folder"))
    scene = Scene(folder, cameras, [], np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), 1.0, {})
    session = Session(SessionConfig(device=config.device), field, scene, device)
    session.__dict__["memory"] = PhraseMemory(encoder, device)  # in place of a text encoder with weights
    return OpenModel(session), cameras


class _Cells:
    """Names the cells: `cell 5` is the embedding of the fifth."""

    negatives, temperature, width = ("object", "things", "stuff", "texture"), 10.0, WIDTH

    def __init__(self, codes: torch.Tensor):
        self._codes = codes

    def embed(self, phrases: tuple[str, ...]) -> torch.Tensor:
        """Unit rows."""
        numbers = [int(word.split()[1]) % len(self._codes) if word.startswith("cell ") else -1 for word in phrases]
        other = F.normalize(self._codes.mean(0), dim=0)
        return torch.stack([F.normalize(self._codes[number], dim=0) if number >= 0 else other for number in numbers])


def _field(trained: TrainedModel, cells: torch.Tensor, generator: torch.Generator) -> tuple[MixtureField, _Cells]:
    """Codes with cosines around 0.6, as CLIP's of unrelated segments."""
    device, codes = trained.gaussians.means.device, CELLS**3
    common = F.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    noise = F.normalize(torch.randn(codes, WIDTH, generator=generator), dim=1)
    embeddings = F.normalize(common + 0.8 * noise, dim=1)
    tables = {level: embeddings for level in LEVELS}
    codebook = Codebook(tables, principal_directions(list(tables.values()), COORDINATES)).to(device)
    indices = torch.randint(0, codes, (len(cells), len(SHARES)), generator=generator)
    indices[:, 0] = cells
    weights = torch.tensor(SHARES).expand(len(cells), -1).to(device)
    indices, ones = indices.to(device), torch.ones(len(cells), device=device)
    norms = Mixtures(indices, weights, ones, ones).blend(codebook.centroids("s")).norm(dim=1)
    mixtures = Mixtures(indices, weights, norms, ones)
    return MixtureField(trained, LEVELS, FeatureSettings("mini"), (mixtures,) * len(LEVELS), codebook), _Cells(embeddings)


if __name__ == "__main__":
    command_line.run(main, ViewerBenchmarkConfig)

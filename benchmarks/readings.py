"""Differences between the readings of a lifted field, in its held-out views.

    python -m benchmarks.readings -m output/demo --field lifted --text "red mug" "wooden table"

The reference of the published reading uses whole embeddings, so the error of the stored coordinates is a row too.
Only pixels at least half covered by Gaussians count.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from query.field import FieldView
from query.mixture_field import MixtureField
from query.question import clean_phrases
from query.relevancy import relevancy
from query.session import RelevancyConfig, Session
from query.tables import table
from query.views import choose_views
from workspace import InputError, ModelFolder, command_line

COVERED = 0.5
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True)
class ReadingsConfig(RelevancyConfig):
    """Which field to read, and what to ask."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder with a lifted field."""
    text: tuple[str, ...]
    """Phrases, each in quotes."""


@torch.inference_mode()
def main(config: ReadingsConfig) -> None:
    """Compare the readings of a lifted field."""
    session = Session.open(config, ModelFolder(config.model_path))
    field = session.field
    if not isinstance(field, MixtureField):
        raise InputError(f"The field of {session.model.root} is not lifted; choose one with --field.")
    phrases = clean_phrases(config.text)
    questions = {name: session.question(phrases, config.negatives, reading=name) for name in ("protocol", "fast", "gaussian")}
    differences: dict[str, list[Tensor]] = {name: [] for name in questions}
    winners: dict[str, list[Tensor]] = {name: [] for name in questions}
    lengths = []
    for view in tqdm(choose_views(session.scene, "test"), desc="views", disable=None):
        seen = field.view(view.camera)
        rendered, covered = _whole(field, seen), seen.coverage >= COVERED
        length = rendered.norm(dim=1)
        unit = (rendered / length.clamp_min(1e-12)[:, None]).movedim(1, -1)
        question = questions["protocol"]
        exact = relevancy(unit, question.embeddings, question.negatives.embeddings).movedim(0, 1)
        lengths.append(torch.stack([length[covered], seen.lengths[covered]]))
        for name, question in questions.items():
            found = question.relevancy(seen)
            differences[name].append((found - exact).abs().movedim(1, -1)[covered])
            winners[name].append(((found > 0.5) == (exact > 0.5)).movedim(1, -1)[covered])
    length, kept = torch.cat(lengths, 1)
    print(f"{length.numel()} pixels and levels, {len(phrases)} phrases")
    ratio = kept / length.clamp_min(1e-6)
    print(
        f"length from {field.codes.shape[-1]} coordinates over the exact one: mean {ratio.mean():.4f}, largest {ratio.max():.4f}"
    )
    rows = []
    for name in questions:
        error, same = torch.cat(differences[name]), torch.cat(winners[name])
        cells = [f"{error.mean():.4f}", f"{error.flatten().kthvalue(int(0.99 * error.numel())).values:.4f}", f"{error.max():.4f}"]
        rows.append([name, *cells, f"{100 * same.float().mean():.2f}", *_by_length(error, length)])
    heading = [f"{low:.1f} to {min(high, 1):.1f}" for low, high in zip(BINS, BINS[1:], strict=False)]
    print(
        "difference of relevancy from that of whole embeddings, normalised; the last columns by rendered length: mean / largest"
    )
    print(table(["reading", "mean", "99th percentile", "largest", "same side of 0.5, %", *heading], rows))


def _whole(field: MixtureField, view: FieldView) -> Tensor:
    """Rendered embeddings [levels, d, h, w]."""
    tables = (field.codebook.centroids(level) for level in field.levels)
    return view.render(torch.stack([found.blend(codes) for found, codes in zip(field.mixtures, tables, strict=True)], 1))


def _by_length(error: Tensor, length: Tensor) -> list[str]:
    cells = []
    for low, high in zip(BINS, BINS[1:], strict=False):
        part = error[(length >= low) & (length < high)]
        cells.append(f"{part.mean():.3f} / {part.max():.3f}" if len(part) else "-")
    return cells


if __name__ == "__main__":
    command_line.run(main, ReadingsConfig)

"""How well a language field reproduces the target codes of the photographs, per level."""

from collections.abc import Iterable, Sequence

import torch
from diff_gaussian_rasterization import PreparedView
from jaxtyping import Float
from torch import Tensor

from training.language_targets import Target, residual
from workspace.record_types import LanguageReport, LevelQuality

EPS = 1e-8  # minimum of the product of two lengths, against division by zero


@torch.no_grad()
def measure_codes(
    views: Iterable[tuple[PreparedView, Target]], channels: Float[Tensor, "n lc"], levels: Sequence[str]
) -> dict[str, LevelQuality]:
    """Cosine and L1 between rendered and target codes at each level, averaged over the views."""
    cosines, losses, count = torch.zeros(len(levels)), torch.zeros(len(levels)), 0
    for view, target in views:
        rendered, wanted, labelled = view.rasterize(channels).image, target.image(), target.labelled()
        shown, asked = (image.unflatten(0, (len(levels), -1)) for image in (rendered, wanted))
        squares = (shown * shown).sum(1) * (asked * asked).sum(1)
        cosine = (shown * asked).sum(1) / squares.sqrt().clamp_min(EPS)
        known = torch.ones_like(cosine) if labelled is None else labelled.to(cosine.dtype)
        cosines += ((cosine * known).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)).cpu()
        losses += residual(target, rendered).abs().unflatten(0, (len(levels), -1)).mean((1, 2, 3)).cpu()
        count += 1
    return {
        level: LevelQuality(cosine.item(), loss.item())
        for level, cosine, loss in zip(levels, cosines / count, losses / count, strict=True)
    }


def table(report: LanguageReport) -> str:
    """Cosine and L1 as text: one line per level for the training views, then for the held-out views."""
    lines = [f"{'level':<8} {'views':<9} cosine      L1"]
    for views, quality in (("train", report.train), ("held-out", report.held_out or {})):
        lines += [f"{level:<8} {views:<9} {row.cosine:6.4f}  {row.l1:6.4f}" for level, row in quality.items()]
    return "\n".join(["Rendered against target codes:", *lines])


def lifted_table(report: LanguageReport) -> str:
    """Statistics of the stored mixtures, one line per level, followed by `table`."""
    lines = [f"{'level':<8} codes  never seen  coverage  kept mass  cosine of kept and full mixture"]
    lines += [
        f"{level:<8} {row.codes:5d}  {row.unknown:10d}  {row.coverage:8.3f}  {row.kept_mass:9.3f}  {row.cosine:6.4f}"
        for level, row in (report.lifted or {}).items()
    ]
    return "\n".join([*lines, table(report)])

"""Whether a reconstruction can be trusted: every photograph placed does not mean that it was placed well."""

from collections.abc import Sequence
from dataclasses import dataclass

from scene.sfm_steps import ModelSummary

FOCAL_RATIO = 0.02  # square pixels give fx = fy; lenses and fits stay within this
MIN_REGISTERED = 0.9  # share of the photographs
MIN_TRACK_LENGTH = 3.0  # photographs that see a point; below it the points tie pairs only
MIN_POINTS_PER_PHOTOGRAPH = 30


def largest_good_error(width: int) -> float:
    """Mean reprojection error in pixels that a sound model of photographs `width` wide stays under.

    Measured: sound captures 0.44 px at 800 and 0.89 px at 1920, bent ones 1.04 to 1.09 px at 800.
    """
    return 0.2 + 0.4 * width / 800


@dataclass(frozen=True)
class Verdict:
    """Figures of the chosen model, and what makes it doubtful (empty when nothing does)."""

    model: ModelSummary
    failed: tuple[str, ...]  # photographs that were not placed
    warnings: tuple[str, ...]

    def report(self) -> dict:
        """The figures for the stage record."""
        cameras = [dict(zip(("model", "width", "height", "fx", "fy"), c, strict=True)) for c in self.model.cameras]
        return {
            "registered": len(self.model.registered),
            "photographs": len(self.model.registered) + len(self.failed),
            "failed": list(self.failed),
            "points": self.model.num_points,
            "mean_error_px": round(self.model.mean_error, 4),
            "mean_track_length": round(self.model.mean_track_length, 3),
            "cameras": cameras,
            "warnings": list(self.warnings),
        }


def judge(models: Sequence[ModelSummary], names: Sequence[str]) -> Verdict:
    """Verdict on the largest of `models` (the first), made from the photographs `names`."""
    model = models[0]
    failed = tuple(sorted(set(names) - set(model.registered)))
    warnings = []
    if len(model.registered) < MIN_REGISTERED * len(names):
        warnings.append(
            f"only {len(model.registered)} of {len(names)} photographs were placed: take more photographs between the "
            "failed ones and their neighbours, or try --matching exhaustive"
        )
    if len(models) > 1:
        others = ", ".join(str(len(m.registered)) for m in models[1:])
        warnings.append(
            f"the photographs fell apart into {len(models)} models (the others with {others} photographs; one photograph "
            "can be in several): parts of the scene do not overlap enough"
        )
    widest = max(max(width, height) for _, width, height, _, _ in model.cameras)
    if model.mean_error > largest_good_error(widest):
        warnings.append(
            f"mean reprojection error {model.mean_error:.2f} px is above {largest_good_error(widest):.2f} px for this image "
            "size: the geometry is probably bent; try --mapper incremental or another --camera_model"
        )
    for name, _, _, fx, fy in model.cameras:
        if abs(fx / fy - 1) > FOCAL_RATIO:
            warnings.append(
                f"focal lengths fx {fx:.0f} and fy {fy:.0f} of camera {name} differ by {abs(fx / fy - 1):.0%}: the geometry is "
                "probably bent; try --camera_model SIMPLE_RADIAL or SIMPLE_PINHOLE"
            )
    if model.mean_track_length < MIN_TRACK_LENGTH:
        warnings.append(f"points are seen in {model.mean_track_length:.1f} photographs on average: too little overlap")
    if model.num_points < MIN_POINTS_PER_PHOTOGRAPH * len(model.registered):
        warnings.append(f"only {model.num_points} points: blurred photographs, or surfaces without texture")
    return Verdict(model, failed, tuple(warnings))


def verdict_table(report: dict) -> str:
    """The figures of a report, one a line, warnings last."""
    rows = [
        ("photographs placed", f"{report['registered']} of {report['photographs']}"),
        ("points", f"{report['points']:,}"),
        ("mean reprojection error", f"{report['mean_error_px']:.2f} px"),
        ("photographs per point", f"{report['mean_track_length']:.1f}"),
    ]
    for camera in report["cameras"][:4]:
        text = f"{camera['model']} {camera['width']}x{camera['height']}, fx {camera['fx']:.1f}, fy {camera['fy']:.1f}"
        rows.append(("camera", text))
    if len(report["cameras"]) > 4:
        rows.append(("", f"and {len(report['cameras']) - 4} more"))
    lines = [f"  {name:<24} {value}" for name, value in rows]
    if report["failed"]:
        lines += [f"  not placed ({len(report['failed'])}):", *(f"    {name}" for name in report["failed"])]
    lines += [f"  WARNING: {warning}" for warning in report["warnings"]]
    return "\n".join(lines)

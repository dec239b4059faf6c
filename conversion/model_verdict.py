"""Whether a reconstruction can be trusted: a registered photograph can still have a wrong pose."""

from collections.abc import Sequence
from dataclasses import dataclass

from conversion.alignment import Agreement, compare_poses
from conversion.model_summary import ModelSummary
from workspace.record_types import ConvertedCamera, ConvertReport, SecondOpinion

FOCAL_RATIO = 0.02  # maximum |fx / fy - 1|; square pixels give fx = fy, up to lens and fitting errors
MIN_REGISTERED = 0.9  # share of the photographs
# Share of the verified matches. Measured on two captures: correct 0.95 and 0.98, some cameras wrong 0.92, bent 0.78 to 0.81.
MIN_EXPLAINED = 0.85
MIN_TRACK_LENGTH = 3.0  # mean number of photographs that observe a point; below it points connect only pairs
MIN_POINTS_PER_PHOTOGRAPH = 30
SAME = 0.02  # of the radius; models of two mappers whose cameras differ by less count as the same
# The two mappers start differently (all rotations at once, or photograph by photograph), so they do not bend a model alike.
# Measured: correct models differ by 0.001 of the radius with 0.99 of the matches explained, bent ones by 0.76.
AGREED, AGREED_WORST, AGREED_EXPLAINED = 0.005, 0.05, 0.95  # mean and maximum centre difference, minimum share of matches
TOLERATED = 1.5  # times `largest_good_error` if the mappers agree: blurred photographs raise the error, bent models disagree


def largest_good_error(width: int) -> float:
    """Maximum mean reprojection error, in pixels, of a good model of photographs `width` pixels wide.

    Measured: good captures 0.44 px at 800, 0.81 px at 1008 (a phone's) and 0.89 px at 1920, bent ones 1.04 to 1.09 px at 800.
    The error alone does not separate them, so it is judged together with the agreement of the mappers.
    """
    return 0.2 + 0.4 * width / 800


@dataclass(frozen=True)
class Verdict:
    """The chosen model, the best model of the other mapper, and warnings about the choice."""

    model: ModelSummary
    failed: tuple[str, ...]  # photographs that were not registered
    second: ModelSummary | None
    agreement: Agreement | None  # between the second and the chosen model
    warnings: tuple[str, ...]

    def report(self) -> ConvertReport:
        """The figures for the stage record."""
        model, other = self.model, self.second
        second = other and SecondOpinion(
            mapper=other.mapper,
            registered=len(other.poses),
            mean_error_px=round(other.mean_error, 4),
            explained_matches=round(other.explained, 4),
            mean_difference=self.agreement and round(self.agreement.mean_center, 5),
            max_difference=self.agreement and round(self.agreement.max_center, 5),
        )
        return ConvertReport(
            registered=len(model.poses),
            photographs=len(model.poses) + len(self.failed),
            failed=self.failed,
            mapper=model.mapper,
            points=model.num_points,
            mean_error_px=round(model.mean_error, 4),
            mean_track_length=round(model.mean_track_length, 3),
            explained_matches=None if model.explained is None else round(model.explained, 4),
            cameras=tuple(ConvertedCamera(*camera) for camera in model.cameras),
            warnings=self.warnings,
            second_opinion=second,
        )


def judge(models: Sequence[ModelSummary], names: Sequence[str]) -> Verdict:
    """Verdict on the best model, `models[0]`, reconstructed from the photographs `names`."""
    model = models[0]
    failed = tuple(sorted(set(names) - set(model.poses)))
    second = next((other for other in models if other.mapper != model.mapper), None)
    agreement = None if second is None else compare_poses(second.poses, model.poses)
    warnings = _warnings(model, len(names), _evidence(model, second, agreement))
    siblings = [str(len(other.poses)) for other in models[1:] if other.mapper == model.mapper]
    if siblings:
        warnings.append(
            f"the photographs fell apart into {len(siblings) + 1} models (the others with {', '.join(siblings)} photographs; one "
            "can be in several): parts of the scene do not overlap enough"
        )
    if agreement is not None and agreement.mean_center > SAME and abs(model.explained - second.explained) < 0.01:
        warnings.append(
            f"the two mappers place the cameras differently, by {agreement.mean_center:.0%} of the radius on average, and the "
            "matches do not tell which is right: look at the result before relying on it"
        )
    return Verdict(model, failed, second, agreement, tuple(warnings))


def agree(model: ModelSummary, second: ModelSummary | None, agreement: Agreement | None) -> bool:
    """Whether both mappers agree: nearly all cameras at the same positions, and both models explain the matches."""
    if second is None or agreement is None or model.explained is None or second.explained is None:
        return False
    return (
        agreement.mean_center <= AGREED
        and agreement.max_center <= AGREED_WORST
        and agreement.cameras >= MIN_REGISTERED * len(model.poses)
        and min(model.explained, second.explained) >= AGREED_EXPLAINED
    )


@dataclass(frozen=True)
class _Evidence:
    agreed: bool
    text: str


def _evidence(model: ModelSummary, second: ModelSummary | None, agreement: Agreement | None) -> _Evidence:
    if second is None or agreement is None:
        return _Evidence(False, "there is no second opinion, because one mapper ran or its model shares too few photographs")
    agreed = agree(model, second, agreement)
    shares = " and ".join(f"{other.explained:.1%}" for other in (model, second) if other.explained is not None)
    return _Evidence(
        agreed,
        f"the two mappers {'agree' if agreed else 'differ'}: centres {agreement.mean_center:.2%} of the radius apart on average, "
        f"{agreement.max_center:.2%} at most, {shares} of the matches explained",
    )


def _warnings(model: ModelSummary, num_photographs: int, evidence: _Evidence) -> list[str]:
    warnings = []
    if len(model.poses) < MIN_REGISTERED * num_photographs:
        warnings.append(
            f"only {len(model.poses)} of {num_photographs} photographs were placed: take more between the failed ones and "
            "their neighbours, or try --matching exhaustive"
        )
    if model.explained is not None and model.explained < MIN_EXPLAINED:
        warnings.append(
            f"only {model.explained:.0%} of the verified matches agree with the model: the geometry is probably bent, or the "
            "scene has repeated parts; try another --mapper or --camera_model"
        )
    if model.misplaced:
        warnings.append(f"probably misplaced, their matches disagree with their pose: {', '.join(model.misplaced)}")
    widest = max(max(width, height) for _, width, height, _, _ in model.cameras)
    limit = largest_good_error(widest) * (TOLERATED if evidence.agreed else 1)
    if model.mean_error > limit:
        cause = (
            "the photographs are soft or --camera_model does not fit the lens" if evidence.agreed else "the geometry may be bent"
        )
        warnings.append(
            f"mean reprojection error {model.mean_error:.2f} px is above {limit:.2f} px for this image size: {cause} "
            f"({evidence.text}); try another --mapper or --camera_model"
        )
    for name, _, _, fx, fy in model.cameras:
        if abs(fx / fy - 1) > FOCAL_RATIO:
            warnings.append(
                f"focal lengths fx {fx:.0f} and fy {fy:.0f} of camera {name} differ by {abs(fx / fy - 1):.0%}: the geometry is "
                "probably bent; try --camera_model SIMPLE_RADIAL or SIMPLE_PINHOLE"
            )
    if model.mean_track_length < MIN_TRACK_LENGTH:
        warnings.append(f"points are seen in {model.mean_track_length:.1f} photographs on average: too little overlap")
    if model.num_points < MIN_POINTS_PER_PHOTOGRAPH * len(model.poses):
        warnings.append(f"only {model.num_points} points: blurred photographs, or surfaces without texture")
    return warnings


def verdict_table(report: ConvertReport) -> str:
    """The figures of a report, one per line, warnings last."""
    widest = max(max(camera.width, camera.height) for camera in report.cameras)
    rows = [
        ("photographs placed", f"{report.registered} of {report.photographs}"),
        ("points", f"{report.points:,}"),
        ("mean reprojection error", f"{report.mean_error_px:.2f} px, {report.mean_error_px / widest:.3%} of the longer side"),
        ("photographs per point", f"{report.mean_track_length:.1f}"),
    ]
    if report.explained_matches is not None:
        rows.append(("matches explained", f"{report.explained_matches:.1%} ({report.mapper} mapping)"))
    second = report.second_opinion
    if second is not None:
        text = f"{second.mapper} mapping: {second.registered} placed, {second.explained_matches:.1%} explained"
        if second.mean_difference is not None:
            text += f", cameras differ by {second.mean_difference:.2%} of the radius"
        rows.append(("second opinion", text))
    for camera in report.cameras[:4]:
        rows.append(("camera", f"{camera.model} {camera.width}x{camera.height}, fx {camera.fx:.1f}, fy {camera.fy:.1f}"))
    if len(report.cameras) > 4:
        rows.append(("", f"and {len(report.cameras) - 4} more"))
    lines = [f"  {name:<24} {value}" for name, value in rows]
    if report.failed:
        lines += [f"  not placed ({len(report.failed)}):", *(f"    {name}" for name in report.failed)]
    lines += [f"  WARNING: {warning}" for warning in report.warnings]
    return "\n".join(lines)

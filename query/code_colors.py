"""Codes of any width as colours: one basis per field, so that colours are comparable between pictures."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from query.field import LanguageField
from workspace import InputError, read_typed, write_json


@dataclass(frozen=True)
class CodeColors:
    """Mean and three principal directions of a field's codes; red, green and blue span `low` to `high` along them."""

    fingerprint: dict[str, str]
    mean: list[float]
    directions: list[list[float]]
    low: list[float]
    high: list[float]

    @classmethod
    def fit(cls, field: LanguageField) -> "CodeColors":
        """Basis of the Gaussians' codes at all levels, weighted by opacity; the range is from the 1st to the 99th percentile.

        Codes of one or two channels leave the remaining colours constant.
        """
        width = field.codes.shape[-1]
        codes = field.codes.double().cpu().reshape(-1, width)
        weights = field.trained.gaussians.opacities.double().cpu().repeat_interleave(len(field.levels))[:, None]
        mean = (weights * codes).sum(0) / weights.sum().clamp_min(1e-12)
        centred = codes - mean
        _, vectors = torch.linalg.eigh((weights * centred).T @ centred)
        directions = torch.zeros(3, width, dtype=torch.float64)
        principal = vectors.flip(1).T[:3]
        signs = principal.gather(1, principal.abs().argmax(1, keepdim=True)).sign()  # the same colours on every machine
        directions[: len(principal)] = principal * signs
        low, high = np.percentile((centred @ directions.T).numpy(), [1, 99], axis=0)
        return cls(field.fingerprint(), mean.tolist(), directions.tolist(), low.tolist(), high.tolist())

    @classmethod
    def of(cls, path: Path, field: LanguageField) -> "CodeColors":
        """The basis stored in `path`; fitted and written when the file is missing or belongs to other codes.

        Raises:
            InputError: the file is damaged.
        """
        if path.exists():
            remedy = "Delete it; it is fitted again."
            kept = read_typed(path, cls, remedy)
            if kept.fingerprint == field.fingerprint():
                width = field.codes.shape[-1]
                lengths = [len(row) for row in (*kept.directions, kept.mean, kept.low, kept.high)]
                if lengths != [width, width, width, width, 3, 3]:
                    raise InputError(f"{path} is damaged: expected three directions of {width} numbers, and ranges. {remedy}")
                return kept
        fitted = cls.fit(field)
        write_json(path, asdict(fitted))
        return fitted

    def paint(self, codes: Float[Tensor, "c h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """RGB of a code map; black where there is no Gaussian."""
        mean, directions, low, high = (codes.new_tensor(v) for v in (self.mean, self.directions, self.low, self.high))
        along = (codes.movedim(0, -1) - mean) @ directions.T
        colors = ((along - low) / (high - low).clamp_min(1e-6)).clamp(0, 1) * codes.ne(0).any(0)[..., None]
        return (colors * 255 + 0.5).byte().cpu().numpy()

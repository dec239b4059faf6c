"""Cosine and relevancy of every Gaussian for every phrase, from its stored codes; nothing is rendered."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from query.question import Question


@dataclass(frozen=True)
class GaussianScores:
    """Scores of the Gaussians that have a code."""

    known: Bool[Tensor, " n"]
    """True for the k Gaussians with a code at any level. The others have no features and are excluded."""
    cosines: Float[Tensor, "levels p k"]
    """Cosines between phrases and the decoded embeddings as stored, not as rendered."""
    relevancy: Float[Tensor, "levels p k"]
    """Relevancy against the negatives, in (0, 1)."""


@torch.inference_mode()
def gaussian_scores(question: Question) -> GaussianScores:
    """Scores of every level and phrase."""
    known = question.field.known.any(1)
    return GaussianScores(
        known, question.gaussian_cosines[known].permute(1, 2, 0), question.gaussian_relevancy[known].permute(1, 2, 0)
    )

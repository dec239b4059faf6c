"""How strongly every Gaussian answers every phrase, from the codes it stores; nothing is rendered."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from query.question import Question


@dataclass(frozen=True)
class GaussianScores:
    """Scores of the Gaussians that have a code."""

    known: Bool[Tensor, " n"]
    """Gaussians with a code at any level; the k others were never seen with a feature and take part in nothing."""
    cosines: Float[Tensor, "levels p k"]
    """With the phrases, of the decoded embeddings as stored, not of rendered ones."""
    relevancy: Float[Tensor, "levels p k"]
    """Against the negatives, in (0, 1)."""


@torch.inference_mode()
def gaussian_scores(question: Question) -> GaussianScores:
    """Scores of every level and phrase."""
    known = question.field.known.any(1)
    return GaussianScores(
        known, question.gaussian_cosines[known].permute(1, 2, 0), question.gaussian_relevancy[known].permute(1, 2, 0)
    )

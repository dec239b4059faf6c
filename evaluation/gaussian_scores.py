"""Cosine and relevancy of every Gaussian for every phrase, from its stored codes; nothing is rendered."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from query.question import Question

NO_FEATURE = 0.5  # relevancy of a zero feature, whose cosine is 0 with the phrase and with every negative, as in VALA's program


@dataclass(frozen=True)
class GaussianScores:
    """Scores of the Gaussians that have a code."""

    known: Bool[Tensor, " n"]
    """True for the k Gaussians with a code at any level. The others have no features and are excluded."""
    has_code: Bool[Tensor, "levels k"]
    """Which of them have a code at a level."""
    cosines: Float[Tensor, "levels p k"]
    """Cosines between phrases and the decoded embeddings as stored, not as rendered; 0 without a code at that level."""
    relevancy: Float[Tensor, "levels p k"]
    """Relevancy against the negatives, in (0, 1); 0.5 without a code at that level."""


@torch.inference_mode()
def gaussian_scores(question: Question) -> GaussianScores:
    """Scores of every level and phrase."""
    at_level = question.field.known
    known = at_level.any(1)
    has_code = at_level[known].T
    relevancy = question.gaussian_relevancy[known].permute(1, 2, 0)
    return GaussianScores(
        known, has_code, question.gaussian_cosines[known].permute(1, 2, 0), torch.where(has_code[:, None], relevancy, NO_FEATURE)
    )

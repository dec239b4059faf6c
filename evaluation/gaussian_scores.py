"""How strongly every Gaussian answers every phrase, from the codes it stores; nothing is rendered."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from query.field import LanguageField
from query.question import Question
from query.relevancy import CHUNK_BYTES, contrast


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
def gaussian_scores(field: LanguageField, question: Question) -> GaussianScores:
    """Scores of every level and phrase."""
    codes = field.channels.unflatten(1, (len(field.levels), -1)).movedim(1, 0)
    known = codes.ne(0).any(-1).any(0)
    readout = question.compressor.readout(torch.cat([question.embeddings, question.negatives]))
    chunk = CHUNK_BYTES // (4 * readout.width)
    cosines = torch.stack([torch.cat([readout(part) for part in level[known].split(chunk)]) for level in codes])
    phrases = len(question.phrases)
    relevancy = torch.stack([contrast(level, phrases) for level in cosines])
    return GaussianScores(known, cosines[..., :phrases].movedim(-1, 1), relevancy)

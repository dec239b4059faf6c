"""Accuracy of the bundled encoder on held-out worlds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bundled.captions import GENERIC, Description
from bundled.crops import Pieces
from bundled.encoder import normalised
from bundled.truth import TRUE, DescriptionTable, truth_matrix
from features import mini

SHUFFLES = 50  # permutations of the control; one is noisy, because the table alone is a tenth of the pieces


def embed_phrases(model: torch.nn.Module, phrases: Sequence[str]) -> Float[Tensor, "p d"]:
    """Unit embeddings of phrases."""
    return model.encode_text(mini.tokenizer()(list(phrases)), normalize=True)


def report(model: torch.nn.Module, worlds: Sequence[Pieces], unseen: Callable[[Description], bool]) -> dict[str, float]:
    """Retrieval and relevancy over held-out worlds.

    Each piece is matched with the full descriptions of all pieces of its world. The control permutes the descriptions at
    random. Relevancy is LERF's, with the canonical negatives, over the same descriptions.
    """
    hits, hits_unseen, control, chance, true_relevancy, false_relevancy, patch_hits = [], [], [], [], [], [], []
    generic = embed_phrases(model, GENERIC)
    rng = np.random.default_rng(0)
    for pieces in worlds:
        crops = model.encode_image(normalised(torch.from_numpy(pieces.crops[pieces.crop_entire])), normalize=True)
        descriptions = [found for found, entire in zip(pieces.crop_descriptions, pieces.crop_entire, strict=True) if entire]
        choices = sorted({*descriptions}, key=repr)
        phrases = embed_phrases(model, [choice.words() for choice in choices])
        truth = truth_matrix(DescriptionTable(descriptions), DescriptionTable(choices)) == TRUE
        cosine = crops @ phrases.T
        best = cosine.argmax(1).numpy()
        right = truth[np.arange(len(truth)), best]
        hits += right.tolist()
        hits_unseen += right[[unseen(entry) for entry in descriptions]].tolist()
        for _ in range(SHUFFLES):
            control += truth[np.arange(len(truth)), rng.permutation(len(choices))[best]].tolist()
        chance.append(truth.mean())
        relevancy = torch.sigmoid(10 * (cosine - (crops @ generic.T).amax(1, keepdim=True))).numpy()
        true_relevancy += (relevancy[truth] > 0.5).tolist()
        false_relevancy += (relevancy[~truth] > 0.5).tolist()
        patch_hits += _patch_hits(model, pieces)
    return {
        "retrieval": float(np.mean(hits)),
        "retrieval_unseen_pairs": float(np.mean(hits_unseen)),
        "retrieval_shuffled": float(np.mean(control)),
        "chance": float(np.mean(chance)),
        "true_relevant": float(np.mean(true_relevancy)),
        "false_relevant": float(np.mean(false_relevancy)),
        "patch_retrieval": float(np.mean(patch_hits)),
        "pieces": len(hits),
        "pieces_unseen_pairs": len(hits_unseen),
    }


def _patch_hits(model: torch.nn.Module, pieces: Pieces) -> list[bool]:
    tokens = mini.patch_tokens(model.visual, normalised(torch.from_numpy(pieces.windows))).flatten(0, 2)
    parts = pieces.window_parts.reshape(-1)
    wholes = sorted({whole for _, whole in pieces.patch_descriptions}, key=repr)
    number = np.array([wholes.index(whole) for _, whole in pieces.patch_descriptions])
    best = (tokens @ embed_phrases(model, [whole.words() for whole in wholes]).T).argmax(1).numpy()
    known = parts >= 0
    return (best[known] == number[parts[known]]).tolist()

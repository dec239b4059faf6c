"""Training of the bundled dual encoder: pieces and patches of toy worlds against true and false captions about them.

The loss is the query itself. LERF's relevancy of a phrase is sigmoid(10 (s_phrase - max s_negative)) with s the cosine, so
the relevancy of a piece is trained to be near 1 for true captions and near 0 for false ones, against the canonical negatives as
in a query. The negatives are generic words and are trained to have the same cosine with every piece.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from bundled.batches import Batches, augmented
from bundled.captions import GENERIC, TEMPLATES, caption_text
from bundled.crops import CROP, PATCH, Pieces
from bundled.truth import FALSE, TRUE, UNKNOWN, DescriptionTable, truth_matrix
from features import mini
from toy_world.materials import PALETTE, TEXTURES
from toy_world.objects import KINDS
from workspace import atomic, write_json

EMBEDDING = 64
GENERIC_COSINE = 0.25  # target cosine of the generic words with all pieces; true captions lie above, false ones below
SHARPNESS = 2.0  # logits are this times those of the relevancy, so that training does not stop at the decision
WINDOWS = 2  # windows per step
CONFIG = {
    "embed_dim": EMBEDDING,
    "vision_cfg": {"image_size": CROP, "layers": 4, "width": 128, "head_width": 32, "patch_size": PATCH, "pool_type": "avg"},
    "text_cfg": {"context_length": 24, "vocab_size": 0, "width": 64, "heads": 4, "layers": 2},
}


def words() -> list[str]:
    """Every word of the captions."""
    nouns = {word for kind in KINDS for word in (kind.name, *kind.textures, *kind.colors)}
    parts = {part for kind in KINDS for part in _part_names(kind)}
    room = {"table", "floor", "wall", "painting", "canvas", "frame"}
    grammar = {word for template in TEMPLATES for word in template.format("").split()} | {"of", "the", "'s"}
    return sorted(nouns | parts | room | grammar | {*GENERIC, *PALETTE, *TEXTURES})


def _part_names(kind) -> set[str]:  # noqa: ANN001
    from toy_world.materials import Material

    return {part.name for part in kind.build(Material("red"), np.random.default_rng(0)) if part.name}


def byte_pairs(vocabulary: Sequence[str]) -> list[str]:
    """Merges, in open_clip's file format, that make each word of the vocabulary one token."""
    merges: dict[tuple[str, str], None] = {}
    for word in vocabulary:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            merges[symbols[0], symbols[1]] = None
            symbols = [symbols[0] + symbols[1], *symbols[2:]]
    return [" ".join(pair) for pair in merges]


def write_architecture() -> None:
    """The model's configuration and its tokenizer's merges, as open_clip reads them."""
    pairs = byte_pairs(words())
    config = json.loads(json.dumps(CONFIG))
    config["text_cfg"]["vocab_size"] = 2 * 256 + len(pairs) + 2
    write_json(mini.CONFIG, config)
    with atomic(mini.MERGES) as temporary, gzip.GzipFile(temporary, "wb", mtime=0) as file:
        file.write("\n".join(["#version: 0.2", *pairs]).encode())


def new_model(start: Path | None = None) -> torch.nn.Module:
    """The encoder with random weights, or with those of a file that `save` wrote."""
    open_clip.add_model_config(mini.CONFIG)
    model = open_clip.create_model(mini.MODEL)
    if start is not None:
        model.load_state_dict({name: value.float() for name, value in load_file(start).items()})
    return model


def normalised(pictures: Tensor) -> Float[Tensor, "b 3 h w"]:
    """uint8 [b, h, w, 3] pictures as normalised input of the model."""
    mean, std = (torch.tensor(v, device=pictures.device).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (pictures.permute(0, 3, 1, 2).float() / 255 - mean) / std


def train(pieces: Pieces, steps: int, start: Path | None = None, learning_rate: float = 1.5e-3) -> torch.nn.Module:
    """A model trained for `steps` batches of pieces, windows and captions, from random weights or those of `start`."""
    torch.manual_seed(steps)
    rng = np.random.default_rng(steps)
    tokenizer, model = mini.tokenizer(), new_model(start).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.05)
    crop_table = DescriptionTable(pieces.crop_descriptions)
    patch_table = DescriptionTable([entry for pair in pieces.patch_descriptions for entry in pair])
    batches = Batches(pieces, rng)
    progress = tqdm(range(steps), desc="mini encoder", mininterval=2)
    for _ in progress:
        rows, captions = batches.draw()
        text = tokenizer([caption_text(rng, s) for s in captions] + list(GENERIC))
        crops = normalised(torch.from_numpy(augmented(rng, pieces.crops[rows])))
        # on a CPU and at this few tokens the fused attention's backward pass takes as long as the rest of the model
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            phrases = model.encode_text(text)
            images = model.encode_image(crops)
            windows, patches = _patches(rng, model, pieces)
        images, phrases = (F.normalize(x.float(), dim=-1) for x in (images, phrases))
        truth = truth_matrix(crop_table.rows(rows), DescriptionTable(captions))
        truth[(truth == TRUE) & ~pieces.crop_entire[rows, None]] = UNKNOWN  # a fragment of a mug is no mug, nor a ball
        truth = torch.from_numpy(truth)
        of_part = truth_matrix(patch_table.rows(2 * patches), DescriptionTable(captions))
        of_whole = truth_matrix(patch_table.rows(2 * patches + 1), DescriptionTable(captions))
        patch_truth = torch.from_numpy(np.maximum(of_part, of_whole))
        patch_truth[torch.from_numpy((of_part < 0) | (of_whole < 0)) & (patch_truth != TRUE)] = UNKNOWN
        loss = relevancy_loss(images, phrases, truth) + contrast(images, phrases, truth, model.logit_scale)
        loss = loss + 0.5 * relevancy_loss(windows, phrases, patch_truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        model.logit_scale.data.clamp_(1.0, 3.4)
        progress.set_postfix(loss=f"{loss.item():.3f}")
    return model.eval()


def _patches(
    rng: np.random.Generator, model: torch.nn.Module, pieces: Pieces
) -> tuple[Float[Tensor, " k d"], Int[np.ndarray, " k"]]:
    """Tokens of random patches of random windows, with the part that each patch shows."""
    rows = rng.integers(0, len(pieces.windows), WINDOWS)
    tokens = mini.patch_tokens(model.visual, normalised(torch.from_numpy(pieces.windows[rows])))
    parts = pieces.window_parts[rows].reshape(-1)
    # each object is sampled equally often: otherwise most patches would show the table and the walls
    known = np.flatnonzero(parts >= 0)
    _, inverse, counts = np.unique(parts[known], return_inverse=True, return_counts=True)
    weight = 1 / counts[inverse]
    chosen = rng.choice(known, min(256, len(known)), replace=False, p=weight / weight.sum())
    return tokens.flatten(0, 2)[torch.from_numpy(chosen)].float(), parts[chosen]


def relevancy_loss(images: Float[Tensor, "b d"], phrases: Float[Tensor, "p d"], truth: Tensor) -> Tensor:
    """Cross-entropy of the relevancy of each caption for each picture; the generic phrases come last."""
    cosine = images @ phrases.T
    generic = cosine[:, -len(GENERIC) :]
    logits = SHARPNESS * 10 * (cosine[:, : -len(GENERIC)] - generic.amax(1, keepdim=True))
    false = F.softplus(logits)[truth == FALSE]
    hardest = false.topk(max(1, len(false) // 20)).values  # most false captions are easy and have almost no gradient
    true = F.softplus(-logits)[truth == TRUE]
    level = (generic - GENERIC_COSINE).square().mean()
    return true.mean() + 0.5 * false.mean() + 0.5 * hardest.mean() + 5 * level


def contrast(images: Float[Tensor, "b d"], phrases: Float[Tensor, "p d"], truth: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's loss in both directions with true pairs as positives; pairs with unknown truth are left out."""
    logits = logit_scale.exp() * (images @ phrases[: -len(GENERIC)].T)
    logits = logits.masked_fill((truth != TRUE) & (truth != FALSE), -1e4)
    positive = truth == TRUE
    total = logits.new_zeros(())
    for axis in (0, 1):
        log_share = F.log_softmax(logits, axis).masked_fill(~positive, 0).sum(axis) / positive.sum(axis).clamp(min=1)
        total = total - log_share[positive.any(axis)].mean()
    return 0.25 * total


def save(model: torch.nn.Module) -> None:
    """Weights in half precision where open_clip looks for them."""
    with atomic(mini.WEIGHTS) as temporary:
        save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, temporary)

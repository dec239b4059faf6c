"""Patch tokens of text-image encoders in the space of their text: of each patch what it would be if it were the whole picture.

Attention mixes patches, and the training of such encoders only looks at the mixture. In the last attention before the joint space
every patch therefore attends to itself alone, so that its value is passed on unmixed: MaskCLIP (Zhou et al., ECCV 2022). In
vision transformers with a class token that is the attention of the last block, with attention pooling that of the pool.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from workspace import InputError


def check_patches(model: str, visual: nn.Module) -> None:
    """Check that the image tower has patch tokens that can be compared with text.

    Raises:
        InputError: it has none, or they reach the joint space through layers that are not understood here.
    """
    if _has_class_token(visual) or _has_attention_pool(visual):
        return
    kind = type(getattr(visual, "trunk", visual)).__name__
    raise InputError(
        f"OpenCLIP model '{model}' has no patch tokens that could be compared with text: its image tower ({kind}) pools "
        "convolutions, averages, or tokens of its own. --features clip_dense takes vision transformers with a class token "
        "(ViT-*, also with DFN's and MetaCLIP's weights) or with attention pooling (SigLIP, SigLIP 2, PE-Core); segments of this "
        f"model: --features sam_clip --clip_model {model}."
    )


def patch_tokens(visual: nn.Module, pixels: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b h w d"]:
    """Unit tokens of all patches, from normalised pictures of the size of the encoder's training."""
    tokens = _past_last_block(visual, pixels) if _has_class_token(visual) else _past_pool(visual, pixels)
    side = round(tokens.shape[1] ** 0.5)
    return F.normalize(tokens, dim=-1).unflatten(1, (side, side))


def _has_class_token(visual: nn.Module) -> bool:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and visual.proj is not None
        and type(visual.transformer.resblocks[-1]) is ResidualAttentionBlock
    )


def _has_attention_pool(visual: nn.Module) -> bool:
    from timm.layers import AttentionPoolLatent

    pool = getattr(getattr(visual, "trunk", None), "attn_pool", None)
    return isinstance(pool, AttentionPoolLatent) and pool.latent_len == 1 and pool.pos_embed is None


def _past_last_block(visual: nn.Module, pixels: Tensor) -> Float[Tensor, "b n d"]:
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
    x = visual.ln_pre(x + visual.positional_embedding.to(x.dtype))
    *blocks, last = visual.transformer.resblocks
    batch_first = last.attn.batch_first
    x = x if batch_first else x.transpose(0, 1)
    for block in blocks:
        x = block(x)
    x = (x if batch_first else x.transpose(0, 1))[:, 1:]
    attention, width = last.attn, x.shape[-1]
    value = F.linear(last.ln_1(x), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    x = x + last.ls_1(attention.out_proj(value))
    x = x + last.ls_2(last.mlp(last.ln_2(x)))
    return visual.ln_post(x) @ visual.proj


def _past_pool(visual: nn.Module, pixels: Tensor) -> Float[Tensor, "b n d"]:
    trunk = visual.trunk
    tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
    alone = trunk.attn_pool(tokens.flatten(0, 1)[:, None])  # of one token the softmax is 1
    return visual.head(trunk.head(trunk.fc_norm(alone))).unflatten(0, tokens.shape[:2])

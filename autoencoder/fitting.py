"""Fitting the autoencoder: the embeddings stay on the device; the epoch that is best on held-out embeddings is kept."""

import copy
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings, Rows, train_share
from autoencoder.gradient import StepGradient
from autoencoder.network import Autoencoder, published_widths
from autoencoder.recipes import CODE_WIDTH, PATCH_SHARE, PATCHES, SEGMENT_SHARE, SEGMENTS, Recipe
from autoencoder.reconstruction import reconstruction_cosines
from features.feature_store import FeatureStore
from workspace import InputError, ModelFolder
from workspace.resume import Resumable, Step
from workspace.stage_record import plain

log = logging.getLogger(__name__)

SAVE_EVERY = 20.0  # seconds between resumable states; an epoch takes about one


def autoencoder_settings(config: AutoencoderConfig, store: FeatureStore) -> dict[str, Any]:
    """Settings that determine a fit of the network; InputError for invalid values."""
    width = CODE_WIDTH if config.code_width is None else config.code_width
    recipes, share = (PATCHES, PATCH_SHARE) if store.dense else (SEGMENTS, SEGMENT_SHARE)
    recipe = asdict(replace(recipes[config.preset], cosine_axis=config.cosine_axis, seed=config.seed))
    recipe |= {name: given for name in ("epochs", "batch_size", "lr", "schedule") if (given := getattr(config, name)) is not None}
    for name, value, minimum in (
        ("code_width", width, 1),
        ("epochs", recipe["epochs"], 1),
        ("batch_size", recipe["batch_size"], 2),
    ):
        if value < minimum:
            raise InputError(f"--{name} {value}: expected {minimum} or more.")
    if not recipe["lr"] > 0:
        raise InputError(f"--lr {recipe['lr']}: expected a positive step size.")
    settings = {"method": Autoencoder.method, "code_width": width, "train_share": train_share(config, share)}
    settings |= {"seed": config.seed, "recipe": recipe}
    # DinoSplat's network has no batch norm. Deviates from DinoSplat, which feeds it raw tokens: with unit tokens the codes do
    # not depend on the length of an extractor's tokens.
    return settings | {"batch_norm": False, "tokens": "unit"} if store.dense else settings


def fit_autoencoder(embeddings: Embeddings, settings: Mapping[str, Any], model: ModelFolder) -> Autoencoder:
    """A network fitted to a scene's embeddings; an interrupted fit continues from the checkpoint in `model`."""
    train, recipe = Rows.joined(list(embeddings)).embeddings, Recipe(**settings["recipe"])
    scene, width = embeddings.store.scene, settings["code_width"]
    if width > train.shape[1]:
        raise InputError(f"--code_width {width}: the features of {scene.root} are only {train.shape[1]} wide.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Autoencoder(*published_widths(train.shape[1], width), batch_norm=settings.get("batch_norm", True)).to(
            train.device
        )
    loop = Resumable(model, "autoencoder", plain(settings))
    resume = loop.saved(train.device)
    if resume is not None:
        with loop.restoring():
            for weights in (resume["network"], resume["best"]):
                network.load_state_dict(weights)
            log.info("Continuing after epoch %d of %d.", resume["epoch"], recipe.epochs)
    with loop.interruptible() as finished:
        return fit(network, train, embeddings.held_out_sample().embeddings, recipe, resume=resume, finished=finished)


def fit(
    network: Autoencoder,
    train: Float[Tensor, "n d"],
    validation: Float[Tensor, "v d"],
    recipe: Recipe,
    *,
    resume: Mapping[str, Any] | None = None,
    finished: Step = lambda done, state, **_: None,
) -> Autoencoder:
    """Fit `network`, in place, to unit embeddings and return it with the weights of its best epoch.

    Best is the highest mean cosine on `validation`. `finished` is called after each epoch; continuing from a state
    that it received (`resume`) gives the weights of an uninterrupted run. An incomplete last batch is skipped; each epoch
    draws a new order. Deviates from LangSplat, which keeps the smaller last batch and chooses among epochs after the 95th by
    the loss on the training rows.
    """
    batch = min(recipe.batch_size, len(train))
    gradient = StepGradient(network, batch, recipe.cosine_axis, recipe.cosine_weight)
    parameters = torch.nn.Parameter(gradient.parameters)
    parameters.grad = gradient.gradients
    optimizer = torch.optim.Adam([parameters], lr=recipe.lr, fused=True)
    steps = len(train) // batch
    first, best_cosine, best = 0, -1.0, network.state_dict()
    if resume is not None:
        network.load_state_dict(resume["network"])
        optimizer.load_state_dict(resume["optimizer"])
        first, best_cosine, best = resume["epoch"], resume["best_cosine"], resume["best"]

    def state() -> dict[str, Any]:
        weights = {"epoch": epoch + 1, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
        return {**weights, "best": best, "best_cosine": best_cosine}

    order = torch.Generator()
    progress = tqdm(range(first, recipe.epochs), initial=first, total=recipe.epochs, desc="autoencoder", unit="epoch")
    for epoch in progress:
        order.manual_seed(recipe.seed * 1_000_003 + epoch)  # an epoch's order does not depend on earlier epochs
        indices = torch.randperm(len(train), generator=order).to(train.device)[: steps * batch].view(steps, batch)
        network.train()
        loss = torch.zeros((), device=train.device)
        for step in range(steps):
            if recipe.schedule == "cosine":
                done = (epoch * steps + step) / (recipe.epochs * steps)
                optimizer.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
            loss += gradient(train.index_select(0, indices[step]))
            optimizer.step()
        cosine = float(reconstruction_cosines(network.eval(), Rows(validation)).mean())
        if cosine > best_cosine:
            best_cosine, best = cosine, copy.deepcopy(network.state_dict())
        progress.set_postfix(loss=f"{float(loss) / steps:.6f}", validation_cosine=f"{cosine:.4f}", best=f"{best_cosine:.4f}")
        finished(epoch + 1, state, every=SAVE_EVERY)
    network.load_state_dict(best)
    return network.eval()

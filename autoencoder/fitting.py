"""Fitting the autoencoder: epochs over embeddings that stay on the device, the best epoch on held-out ones kept."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from autoencoder.gradient import StepGradient
from autoencoder.network import Autoencoder
from autoencoder.recipes import Recipe
from autoencoder.reconstruction import reconstruction_cosines

SAVE_EVERY = 20.0  # seconds between resumable states; an epoch takes about one


def fit(
    network: Autoencoder,
    train: Float[Tensor, "n d"],
    validation: Float[Tensor, "v d"],
    recipe: Recipe,
    *,
    resume: Mapping[str, Any] | None = None,
    save: Callable[[int, dict[str, Any]], None] = lambda epoch, state: None,
    stop: Callable[[], bool] = lambda: False,
) -> Autoencoder:
    """Fit `network`, in place, to unit embeddings and return it with the weights of its best epoch.

    Best is the highest mean cosine on `validation`. `save` is given a resumable state now and then and at the end of a run
    that `stop` ends; continuing from one gives the weights of an uninterrupted run. Embeddings left over from whole
    batches sit an epoch out; each epoch draws a new order.

    Raises:
        KeyboardInterrupt: `stop` said so; the state has been saved.
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

    saved = time.monotonic()
    order = torch.Generator()
    progress = tqdm(range(first, recipe.epochs), initial=first, total=recipe.epochs, desc="autoencoder", unit="epoch")
    for epoch in progress:
        order.manual_seed(recipe.seed * 1_000_003 + epoch)  # any epoch can be repeated without those before it
        indices = torch.randperm(len(train), generator=order).to(train.device)[: steps * batch].view(steps, batch)
        network.train()
        loss = torch.zeros((), device=train.device)
        for step in range(steps):
            if recipe.schedule == "cosine":
                done = (epoch * steps + step) / (recipe.epochs * steps)
                optimizer.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
            loss += gradient(train.index_select(0, indices[step]))
            optimizer.step()
        cosine = float(reconstruction_cosines(network.eval(), validation).mean())
        if cosine > best_cosine:
            best_cosine, best = cosine, copy.deepcopy(network.state_dict())
        progress.set_postfix(loss=f"{float(loss) / steps:.6f}", validation_cosine=f"{cosine:.4f}", best=f"{best_cosine:.4f}")
        stopping = stop()
        if stopping or time.monotonic() - saved > SAVE_EVERY:
            state = {"epoch": epoch + 1, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save(epoch + 1, {**state, "best": best, "best_cosine": best_cosine})
            saved = time.monotonic()
        if stopping:
            raise KeyboardInterrupt
    network.load_state_dict(best)
    return network.eval()

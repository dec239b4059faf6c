"""Fitting the autoencoder to 60,000 embeddings of 512, ours against a plain DataLoader loop, in one run.

    python -m benchmarks.autoencoder_fitting [epochs] [rows]
    python -m benchmarks.autoencoder_fitting patches      the autoencoder against principal components at 768

The plain loop is a straightforward implementation of the published recipe: DataLoader, batches of 64, automatic differentiation,
torch.optim.Adam. Ours is timed with the same recipe and with `--preset fast`; each row has the cosine between held-out
embeddings and their reconstructions, since a faster fit must not lower it.
"""

import sys
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from autoencoder.embeddings import Rows
from autoencoder.fitting import fit
from autoencoder.network import Autoencoder, published_widths
from autoencoder.pca import Moments
from autoencoder.recipes import PATCHES, SEGMENTS
from autoencoder.reconstruction import Reconstruction, measure

WIDTH, THINGS = 512, 120


def embeddings(rows: int, seed: int = 0) -> Tensor:
    """Unit vectors like CLIP's of one scene: a cone around one direction with clusters that vary in a few directions."""
    generator = torch.Generator().manual_seed(seed)
    common = F.normalize(torch.randn(WIDTH, generator=generator), dim=0)
    things = F.normalize(torch.randn(THINGS, WIDTH, generator=generator), dim=1)
    directions = torch.randn(THINGS, 6, WIDTH, generator=generator) / WIDTH**0.5
    thing = torch.randint(THINGS, (rows,), generator=generator)
    view = torch.einsum("nb,nbd->nd", torch.randn(rows, 6, generator=generator), directions[thing])
    noise = torch.randn(rows, WIDTH, generator=generator) / WIDTH**0.5
    return F.normalize(0.65 * common + 0.6 * things[thing] + 0.25 * view + 0.2 * noise, dim=1)


def plain_loop(network: Autoencoder, train: Tensor, epochs: int) -> Autoencoder:
    """The published recipe; only the network is ours."""
    optimizer = torch.optim.Adam(network.parameters(), lr=7e-4)
    loader = DataLoader(TensorDataset(train), batch_size=64, shuffle=True, drop_last=True)
    for _ in range(epochs):
        network.train()
        for (batch,) in loader:
            output = network.decode(network.encode(batch))
            loss = F.mse_loss(output, batch) + 1e-3 * (1 - F.cosine_similarity(output, batch, dim=1).mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def main(epochs: int = 100, rows: int = 60_000) -> None:
    """Print the table."""
    data = embeddings(rows + rows // 20)
    train, validation = data[:rows], data[rows:]

    def timed(name: str, run) -> float:
        torch.manual_seed(0)
        network = Autoencoder(*published_widths(WIDTH, 3))
        began = time.perf_counter()
        network = run(network)
        seconds = time.perf_counter() - began
        quality: Reconstruction = measure(network, Rows(validation))
        print(f"{name:<34} {seconds:8.1f} s   cosine {quality.mean:.4f}, 5th percentile {quality.percentile_5:.4f}", flush=True)
        return seconds

    print(f"{rows} x {WIDTH}, {epochs} epochs, {torch.get_num_threads()} threads", flush=True)
    same = replace(SEGMENTS["published"], epochs=epochs)
    shorter = replace(SEGMENTS["fast"], epochs=SEGMENTS["fast"].epochs * epochs // SEGMENTS["published"].epochs)
    plain = timed("plain DataLoader loop", lambda network: plain_loop(network, train, epochs))
    ours = timed("ours, same recipe", lambda network: fit(network, train, validation, same))
    quick = timed(f"ours, --preset fast ({shorter.epochs} epochs)", lambda network: fit(network, train, validation, shorter))
    print(f"ratio to the plain loop: same recipe {plain / ours:.1f}, fast {plain / quick:.1f}")


def patches(tokens: int = 136_900, width: int = 768, measured: int = 2) -> None:
    """Print seconds of both compressors for patch tokens: 100 photographs of 37x37, as DinoSplat makes them.

    The autoencoder is fitted to a fifth of them for 100 epochs, of which `measured` are run; the components to all. Both then
    encode all tokens. The tokens are random, which changes neither time.
    """
    recipe = PATCHES["published"]
    rows = F.normalize(torch.randn(tokens, width, generator=torch.Generator().manual_seed(0)), dim=1)
    part, validation = rows[: tokens // 5], rows[-1000:]
    torch.manual_seed(0)
    network = Autoencoder(*published_widths(width, 3), batch_norm=False)
    fit(network, part[:2048], validation, replace(recipe, epochs=1))  # the first run also allocates

    def seconds(run) -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    epoch = seconds(lambda: fit(network, part, validation, replace(recipe, epochs=measured))) / measured
    with torch.inference_mode():
        encoding = seconds(lambda: [network.encode(some) for some in rows.split(8192)])

    def components() -> None:
        moments = Moments(width, rows.device)
        for some in rows.split(1369):
            moments.add(some)
        found = moments.components(3)
        for some in rows.split(8192):
            found.encode(some)

    fitted, pca = epoch * recipe.epochs + encoding, seconds(components)
    print(f"{tokens} tokens of {width}, {torch.get_num_threads()} threads")
    print(
        f"autoencoder   {fitted:8.1f} s: {recipe.epochs} epochs of {epoch:.2f} s ({measured} measured), encoding {encoding:.1f} s"
    )
    print(f"components    {pca:8.1f} s\nratio {fitted / pca:.0f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["patches"]:
        patches()
    else:
        main(*(int(argument) for argument in sys.argv[1:]))

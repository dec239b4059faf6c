"""Codebook of a scene: k-means of its embeddings at each level. Gaussians carry mixtures of its codes."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt16
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from autoencoder.compressor import Compressor
from autoencoder.config import AutoencoderConfig
from autoencoder.embeddings import Embeddings, Rows, train_share
from autoencoder.mixtures import MAX_CODES
from autoencoder.readout import Readout
from autoencoder.recipes import PATCH_SHARE
from features.feature_store import FeatureStore
from workspace import InputError, ModelFolder

CODEBOOK_SIZE = 256
COORDINATES = 32
KMEANS_ITERATIONS = 50
CHUNK = 8192  # rows compared with all codes at once
PREFIX = "centroids_"


class Codebook(Compressor):
    """A table of codes per level; each code is the mean of similar unit embeddings, weighted by the pixels they cover.

    `all_levels` are the levels of the features, `levels` those that have segments; the table of any other is one row of zeros.
    The means are not normalised: their length, at most 1, measures how similar the members are. A mixture is blended as its
    coordinates along `code_width` principal directions, which all levels share.
    """

    method = "codebook"
    gaussian_codes = "mixtures"
    field = "lifted"
    by_level = True

    basis: Float[Tensor, "c d"]

    def __init__(self, centroids: Mapping[str, Float[Tensor, "_ d"]], basis: Float[Tensor, "c d"]):
        super().__init__()
        self.code_width, self.feature_width = basis.shape
        self.all_levels = tuple(centroids)
        self.levels = tuple(level for level, table in centroids.items() if table.any())
        self.register_buffer("basis", basis)
        for level, table in centroids.items():
            self.register_buffer(PREFIX + level, table)

    @classmethod
    def names(cls, tensors: Collection[str]) -> bool:
        """Whether any tensor is a table of codes."""
        return any(name.startswith(PREFIX) for name in tensors)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Codebook":
        """The codebook of a file's tensors; ValueError when their names or shapes do not match."""
        tables = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        widths = {value.shape[-1] if value.ndim == 2 else None for value in state.values()}
        if len(tables) != len(state) - 1 or "basis" not in state or len(widths) != 1 or None in widths:
            raise ValueError(f"expected {PREFIX}<level> [codes, d] and basis [c, d]; found {shapes}")
        if max(map(len, tables.values())) > MAX_CODES:
            raise ValueError(f"more than {MAX_CODES} codes at a level; found {shapes}")
        return cls(tables, state["basis"])

    def centroids(self, level: str) -> Float[Tensor, "codes d"]:
        """The codes of a level: means of unit embeddings, not of unit length themselves.

        Raises:
            InputError: the codebook has no codes at that level.
        """
        if level not in self.levels:
            raise InputError(
                f"The codebook has codes at level {', '.join(self.levels)}, not at {level!r}: no photograph has a segment there."
            )
        return getattr(self, PREFIX + level)

    def gram(self, level: str) -> Float[Tensor, "codes codes"]:
        """Dot products of a level's codes with each other; the squared length of a mixture w is w^T gram w."""
        return self.centroids(level) @ self.centroids(level).T

    def scores(self, vectors: Float[Tensor, "v d"], level: str) -> Float[Tensor, "codes v"]:
        """Dot products of a level's codes with unit vectors such as phrases."""
        return self.centroids(level) @ vectors.T

    def coordinates(self, level: str) -> Float[Tensor, "codes c"]:
        """A level's codes along the principal directions that all levels share."""
        return self.centroids(level) @ self.basis.T

    def encode(self, embeddings: Float[Tensor, "*batch d"], levels: Int[Tensor, "*batch"] | None = None) -> Int[Tensor, "*batch"]:
        """Nearest code of each embedding, as a row index of the table of its level.

        Args:
            embeddings: of any length; they are normalised first.
            levels: index into `self.all_levels` of each embedding; may be left out when there is one level.
        """
        shape = embeddings.shape[:-1]
        rows = F.normalize(embeddings.to(self.basis.dtype), dim=-1).reshape(-1, self.feature_width)
        if levels is None and len(self.all_levels) > 1:
            raise InputError("A codebook has a table for each level and no one space of codes; leave out --compare latent.")
        of = torch.zeros(len(rows), dtype=torch.int64, device=rows.device) if levels is None else levels.reshape(-1)
        codes = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        for index, level in enumerate(self.all_levels):
            table = getattr(self, PREFIX + level)
            half = table.square().sum(1) / 2
            for chunk in (of == index).nonzero().squeeze(1).split(CHUNK):
                codes[chunk] = (rows[chunk] @ table.T - half).argmax(1)  # |e - b|^2 = 1 - 2 (e.b - |b|^2 / 2)
        return codes.reshape(shape)

    def decode(self, codes: Int[Tensor, "*batch"], levels: Int[Tensor, "*batch"] | None = None) -> Float[Tensor, "*batch d"]:
        """Embeddings of unit length: the normalised codes."""
        of = torch.zeros_like(codes) if levels is None else levels
        decoded = codes.new_zeros((*codes.shape, self.feature_width), dtype=self.basis.dtype)
        for index, level in enumerate(self.all_levels):
            decoded[of == index] = F.normalize(getattr(self, PREFIX + level), dim=1)[codes[of == index]]
        return decoded

    @torch.no_grad()
    def image_codes(self, embeddings: Embeddings, key: str) -> UInt16[np.ndarray, "*shape"]:
        """Row index, in the table of its level, of each embedding of an image."""
        return self.encode(embeddings.of(key), embeddings.levels(key)).cpu().numpy().astype(np.uint16)

    def details(self) -> dict[str, Any]:
        """Number of codes at each level."""
        return {"levels": {level: len(self.centroids(level)) for level in self.levels}}

    def blended(self, codes: Float[Tensor, "n lc"]) -> Float[Tensor, "n lc"]:
        """The coordinates unchanged."""
        return codes

    def readout(self, vectors: Float[Tensor, "v d"]) -> Readout:
        """Cosines of blended coordinates with unit vectors; the parts outside the principal directions are ignored."""
        return Readout(lambda codes: codes, self.basis.T, torch.zeros_like(self.basis[0]), vectors)


def codebook_settings(config: AutoencoderConfig, store: FeatureStore) -> dict[str, Any]:
    """Settings that determine the codebook; InputError for invalid values."""
    width = COORDINATES if config.code_width is None else config.code_width
    size = CODEBOOK_SIZE if config.codebook_size is None else config.codebook_size
    if width < 1:
        raise InputError(f"--code_width {width}: expected 1 or more.")
    if not 1 <= size <= MAX_CODES:
        raise InputError(f"--codebook_size {size}: expected 1 to {MAX_CODES}, since Gaussians name a code with 16 bits.")
    share = train_share(config, PATCH_SHARE if store.dense else 1.0)
    return {"method": Codebook.method, "code_width": width, "codebook_size": size, "train_share": share, "seed": config.seed}


def fit_codebook(embeddings: Embeddings, settings: Mapping[str, Any], model: ModelFolder) -> Codebook:
    """k-means of each level's embeddings; bit-identical for any number of threads."""
    rows, names, width = Rows.joined(list(embeddings)), embeddings.store.levels, settings["code_width"]
    if COORDINATES < width > rows.embeddings.shape[1]:  # up to the default, the width is cut to that of the features
        raise InputError(
            f"--code_width {width}: the features of {embeddings.store.scene.root} are only {rows.embeddings.shape[1]} wide."
        )

    def table(index: int) -> Tensor:
        chosen = (rows.levels == index) & (rows.pixels > 0)
        return cluster(rows.embeddings[chosen].cpu(), rows.pixels[chosen].cpu(), settings["codebook_size"], settings["seed"])

    # Several threads would add their sums in the order in which they finish: each level has one thread, levels run in parallel.
    with threadpool_limits(1), ThreadPoolExecutor() as pool:
        tables = dict(zip(names, pool.map(table, range(len(names))), strict=True))
        if not any(map(len, tables.values())):
            raise InputError(
                f"{embeddings.store.folder} has no segment in any image, so that there is nothing to make codes of. "
                f"Extract with other settings: {embeddings.store.command()} --overwrite"
            )
        nothing = torch.zeros(1, rows.embeddings.shape[1])
        tables = {level: found if len(found) else nothing for level, found in tables.items()}
        return Codebook(tables, principal_directions(list(tables.values()), width)).to(embeddings.device)


def cluster(rows: Float[Tensor, "m d"], pixels: Float[Tensor, " m"], size: int, seed: int) -> Float[Tensor, "codes d"]:
    """At most `size` means of similar unit rows, weighted by pixels; the rows themselves when there are at most `size`.

    Rows are on the CPU, where the order of summation is fixed. Pixels weight the clustering too: content that covers much of
    the photographs gets finer clusters.
    """
    if len(rows) <= size:
        return rows.clone()
    kmeans = KMeans(size, n_init=1, max_iter=KMEANS_ITERATIONS, random_state=seed, algorithm="lloyd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than codes: unused codes are dropped
        labels = kmeans.fit_predict(rows.numpy(), sample_weight=pixels.numpy())
    labels = torch.from_numpy(labels.astype(np.int64))
    weights = pixels.double()
    sums = rows.new_zeros(size, rows.shape[1], dtype=torch.float64).index_add_(0, labels, rows.double() * weights[:, None])
    totals = weights.new_zeros(size).index_add_(0, labels, weights)
    used = totals > 0
    return (sums[used] / totals[used, None]).to(rows.dtype)


def principal_directions(tables: Sequence[Float[Tensor, "_ d"]], width: int) -> Float[Tensor, "c d"]:
    """At most `width` orthonormal directions that keep most of the codes' squared length, uncentred."""
    stacked = np.concatenate([table.numpy() for table in tables]).astype(np.float64)
    _, vectors = np.linalg.eigh(stacked.T @ stacked)
    directions = vectors[:, ::-1].T[:width]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    directions = (directions * np.sign(largest)).astype(np.float32)  # fixes the signs, the same on every machine
    return torch.from_numpy(np.ascontiguousarray(directions))

"""The scene autoencoders of LangSplat and DinoSplat: a small MLP from an embedding to a code and back."""

from collections.abc import Collection, Mapping, Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from autoencoder.compressor import Compressor
from autoencoder.readout import Readout
from autoencoder.unit_codes import unit_codes


def published_widths(feature_width: int, code_width: int) -> tuple[list[int], list[int]]:
    """Widths of all layers of encoder and decoder, inputs and outputs included.

    The hidden widths are powers of two: down to 32 in the encoder, up from 16 in the decoder. In the decoder, one that reaches
    the feature width is halved; those below the code width are left out. For codes of 3 these are the published layers at
    512 (LangSplat: 512-256-128-64-32-3, 3-16-32-64-128-256-256-512) and at 768 (DinoSplat: 768-512-...-32-3,
    3-16-...-512-768, without batch norm).
    """
    powers = [2**k for k in range(4, feature_width.bit_length())]
    narrowing = [width for width in reversed(powers) if 32 <= width < feature_width]
    widening = [width if width < feature_width else width // 2 for width in powers]
    narrowing, widening = ([width for width in widths if width >= code_width] for widths in (narrowing, widening))
    return [feature_width, *narrowing, code_width], [code_width, *widening, feature_width]


class Autoencoder(Compressor):
    """Encoder (linear, batch norm, ReLU) and decoder (linear, ReLU), each with outputs of unit length.

    LangSplat's encoder has batch norm, DinoSplat's has none. The modules have LangSplat's names, so that checkpoints of both
    load here and ours load there.
    """

    method = "autoencoder"
    field = "published"
    field_preset = "published"

    def __init__(self, encoder_widths: Sequence[int], decoder_widths: Sequence[int], batch_norm: bool = True):
        super().__init__()
        self.feature_width, self.code_width = encoder_widths[0], encoder_widths[-1]
        self.foreign_tokens = "unit" if batch_norm else "raw"  # DinoSplat's are fitted to raw tokens
        self.encoder = nn.ModuleList()
        for i in range(len(encoder_widths) - 1):
            if i > 0:
                self.encoder.extend([nn.BatchNorm1d(encoder_widths[i]), nn.ReLU()] if batch_norm else [nn.ReLU()])
            self.encoder.append(nn.Linear(encoder_widths[i], encoder_widths[i + 1]))
        self.decoder = nn.ModuleList()
        for i in range(len(decoder_widths) - 1):
            if i > 0:
                self.decoder.append(nn.ReLU())
            self.decoder.append(nn.Linear(decoder_widths[i], decoder_widths[i + 1]))

    @classmethod
    def names(cls, tensors: Collection[str]) -> bool:
        """Whether any tensor is of an encoder or decoder layer."""
        return any(name.startswith(("encoder.", "decoder.")) for name in tensors)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "Autoencoder":
        """A network with the widths and weights of a state dict, in evaluation mode.

        Raises:
            ValueError: the tensors are not those of such a network.
        """
        layers = {half: _linear_shapes(state, half) for half in ("encoder", "decoder")}
        if not all(layers.values()):
            raise ValueError("no encoder.<i>.weight and decoder.<i>.weight matrices in it")
        (*_, (code, _)), (*_, (feature, _)) = layers.values()
        expected = {"encoder": layers["encoder"][0][1], "decoder": layers["decoder"][0][1]}
        if expected != {"encoder": feature, "decoder": code}:
            raise ValueError(
                f"the encoder takes {expected['encoder']} entries and gives {code}, the decoder takes {expected['decoder']} and "
                f"gives {feature}: they are not of one network"
            )
        batch_norm = any(name.endswith("running_mean") for name in state)
        widths = ([shapes[0][1], *(rows for rows, _ in shapes)] for shapes in layers.values())
        network = cls(*widths, batch_norm=batch_norm)
        try:
            network.load_state_dict(dict(state))
        except RuntimeError as error:  # torch lists missing, unexpected and wrongly shaped tensors
            raise ValueError(str(error)) from None
        return network.eval()

    def encode(
        self, embeddings: Float[Tensor, "*batch d"], levels: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch c"]:
        """Codes of unit length."""
        return _apply(self.encoder, embeddings)

    def decode(self, codes: Float[Tensor, "*batch c"], levels: Int[Tensor, "*batch"] | None = None) -> Float[Tensor, "*batch d"]:
        """Embeddings of unit length. The codes may be of any length, as rendered ones are."""
        return _apply(self.decoder, codes)

    def blended(self, codes: Float[Tensor, "n lc"]) -> Float[Tensor, "n lc"]:
        """Codes normalised to unit length: only directions are blended."""
        return unit_codes(codes, self.code_width)

    def readout(self, vectors: Float[Tensor, "v d"]) -> Readout:
        """Cosines of decoded codes with unit vectors."""
        *layers, last = self.decoder

        def hidden(codes: Tensor) -> Tensor:
            for layer in layers:
                codes = F.relu_(codes) if isinstance(layer, nn.ReLU) else layer(codes)
            return codes

        return Readout(hidden, last.weight, last.bias, vectors)


def _apply(layers: nn.ModuleList, x: Tensor) -> Tensor:
    leading = x.shape[:-1]
    x = x.reshape(-1, x.shape[-1]).to(layers[0].weight.dtype)
    for layer in layers:
        x = layer(x)
    return F.normalize(x, dim=-1).reshape(*leading, -1)


def _linear_shapes(state: Mapping[str, Tensor], half: str) -> list[tuple[int, int]]:
    """(outputs, inputs) of the linear layers of one half, in order."""
    found = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        index, _, kind = rest.partition(".")
        if part == half and kind == "weight" and index.isdigit() and value.ndim == 2:
            found[int(index)] = (value.shape[0], value.shape[1])
    return [found[i] for i in sorted(found)]

"""Torch operators with named inputs, and direct calls of them.

torch's operators take flat lists; here a NamedTuple holds the inputs, from which the operator's schema follows. Compilers and
exporters see the operator. Eager calls run the same functions without torch's dispatcher, which takes several times as long
in Python as a small picture.
"""

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor
from torch.library import custom_op

LIBRARY = "diff_gaussian_rasterization"  # namespace of the operators
SCHEMA_TYPES = {Tensor: "Tensor", float: "float", int: "int", bool: "bool", Sequence[float]: "float[]", Sequence[str]: "str[]"}


def _schema_type(hint: object) -> str:
    if NoneType in get_args(hint):
        (given,) = (kind for kind in get_args(hint) if kind is not NoneType)
        return SCHEMA_TYPES[given] + "?"
    return SCHEMA_TYPES[hint]


class Operator:
    """An operator: called with the fields of `inputs`, or with one such tuple by `run`.

    Args:
        inputs: a NamedTuple type.
        outputs: the schema of what `forward` returns, such as "(Tensor, Tensor)".
        forward: from `inputs` to the outputs.
        fake: from `inputs` to tensors of their shapes.
    """

    def __init__(self, name: str, inputs: type, outputs: str, forward: Callable[..., Any], fake: Callable[..., Any]):
        self.inputs, self.forward = inputs, forward
        fields = ", ".join(f"{_schema_type(hint)} {field}" for field, hint in get_type_hints(inputs).items())
        self.op = custom_op(
            f"{LIBRARY}::{name}", lambda *flat: forward(inputs(*flat)), mutates_args=(), schema=f"({fields}) -> {outputs}"
        )
        self.op.register_fake(lambda *flat: fake(inputs(*flat)))
        self.eager: Callable[..., Any] = lambda *flat: forward(inputs(*flat))

    def differentiate(self, save: Callable[..., None], gradient: Callable[..., Any], backward: "Operator") -> None:
        """Make the operator differentiable.

        Args:
            save: save(ctx, inputs, outputs) keeps what the gradient needs.
            gradient: gradient(ctx, backward, *gradients of the outputs) returns gradients named like the inputs.
            backward: the operator behind `gradient`, which calls it with a tuple of its inputs.
        """
        inputs, forward = self.inputs, self.forward
        nothing = inputs(*[None] * len(inputs._fields))

        def save_flat(ctx: Any, inputs: tuple, output: Any) -> None:
            save(ctx, self.inputs(*inputs), output)

        def gradient_by(call: Callable[..., Any]) -> Callable[..., Any]:
            return lambda ctx, *grads: nothing._replace(**gradient(ctx, call, *grads))

        self.op.register_autograd(gradient_by(lambda given: backward.op(*given)), setup_context=save_flat)

        def direct_forward(ctx: Any, *flat: Any) -> Any:
            given = inputs(*flat)
            outputs = forward(given)
            save(ctx, given, outputs)
            return outputs

        members = {"forward": direct_forward, "backward": gradient_by(backward.forward)}
        direct = type("Direct", (torch.autograd.Function,), {name: staticmethod(f) for name, f in members.items()})
        self.eager = direct.apply

    def run(self, inputs: NamedTuple) -> Any:
        """The outputs for a tuple of inputs."""
        if torch.compiler.is_compiling():
            return self.op(*inputs)
        if torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
            return self.eager(*inputs)
        return self.forward(inputs)


def wanted(ctx: Any, inputs: type) -> Any:
    """Which inputs need a gradient, as a tuple of their kind."""
    return inputs(*ctx.needs_input_grad)


def contiguous(inputs: Any) -> Any:
    """The inputs with every tensor in rows without gaps, as the compiled code reads them."""
    return inputs._make([value.contiguous() if isinstance(value, Tensor) else value for value in inputs])

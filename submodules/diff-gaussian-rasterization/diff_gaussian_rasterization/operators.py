"""Torch operators with named inputs that eager code calls directly.

Torch operators take flat argument lists; here a NamedTuple holds the inputs and defines the operator's schema. torch.compile and
export use the operator (in torch 2.6 with `torch._dynamo.config.capture_dynamic_output_shape_ops = True`). Eager calls run the
same functions without torch's dispatcher, whose Python overhead is several times the cost of rendering a small image.
"""

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import custom_op

LIBRARY = "diff_gaussian_rasterization"  # namespace of the operators
SCHEMA_TYPES = {Tensor: "Tensor", float: "float", int: "int", bool: "bool", Sequence[float]: "float[]", Sequence[str]: "str[]"}


def _schema_type(hint: object) -> str:
    if NoneType in get_args(hint):
        (given,) = (kind for kind in get_args(hint) if kind is not NoneType)
        return SCHEMA_TYPES[given] + "?"
    return SCHEMA_TYPES[hint]


class Operator:
    """A torch operator, called with the fields of `inputs` as arguments, or through `run` with one such tuple.

    Args:
        inputs: a NamedTuple type.
        outputs: schema of the return value of `forward`, such as "(Tensor, Tensor)".
        forward: maps `inputs`, every tensor contiguous, to the outputs.
        fake: maps `inputs` to tensors with the shapes of the outputs.
    """

    def __init__(self, name: str, inputs: type, outputs: str, forward: Callable[..., Any], fake: Callable[..., Any]):
        self.inputs, self.forward = inputs, forward
        fields = ", ".join(f"{_schema_type(hint)} {field}" for field, hint in get_type_hints(inputs).items())
        self.op = custom_op(
            f"{LIBRARY}::{name}",
            lambda *flat: forward(_contiguous(inputs(*flat))),
            mutates_args=(),
            schema=f"({fields}) -> {outputs}",
        )
        self.op.register_fake(lambda *flat: fake(inputs(*flat)))
        self.eager: Callable[..., Any] = lambda *flat: forward(inputs(*flat))

    def differentiate(self, save: Callable[..., None], gradient: Callable[..., Any], backward: "Operator") -> None:
        """Make the operator differentiable.

        Args:
            save: save(ctx, inputs, outputs) stores what the backward pass needs.
            gradient: gradient(ctx, saved tensors, backward, *gradients of the outputs) returns a dict of gradients by input
                name; the gradients of the outputs are contiguous, None where an output was not used.
            backward: the operator that `gradient` calls, with a tuple of that operator's inputs.
        """
        inputs, forward = self.inputs, self.forward

        def save_flat(ctx: Any, inputs: tuple, output: Any) -> None:
            save(ctx, self.inputs(*inputs), output)

        def gradient_by(call: Callable[..., Any]) -> Callable[..., Any]:
            def flat_gradient(ctx: Any, saved: tuple, grads: tuple) -> Any:
                found = gradient(ctx, saved, call, *[None if grad is None else grad.contiguous().resolve_neg() for grad in grads])
                return tuple([found.get(field) for field in inputs._fields])

            return flat_gradient

        by_operator = gradient_by(lambda given: backward.op(*given))
        self.op.register_autograd(lambda ctx, *grads: by_operator(ctx, ctx.saved_tensors, grads), setup_context=save_flat)

        def direct_forward(ctx: Any, *flat: Any) -> Any:
            given = inputs(*flat)
            outputs = forward(given)
            save(ctx, given, outputs)
            return outputs

        first_order = gradient_by(backward.forward)

        def direct_backward(ctx: Any, *grads: Any) -> Any:
            saved = ctx.saved_tensors  # read once: a checkpoint refuses to give them again
            if not torch.is_grad_enabled():
                return first_order(ctx, saved, grads)
            # create_graph: the gradient may be differentiated again, in anything that it depends on
            depends_on = [t for t in (*saved, *grads) if t is not None and t.requires_grad]
            with torch.no_grad():
                found = first_order(ctx, saved, grads)
            return tuple(grad if grad is None else _FirstDerivative.apply(grad, *depends_on) for grad in found)

        members = {"forward": direct_forward, "backward": direct_backward}
        direct = type("Direct", (torch.autograd.Function,), {name: staticmethod(f) for name, f in members.items()})
        self.eager = direct.apply

    def run(self, inputs: NamedTuple) -> Any:
        """Call the operator with a tuple of inputs, every tensor contiguous."""
        if _traced():
            return self.op(*inputs)
        if forward_ad._current_level >= 0:
            _refuse_tangents(inputs)
        if torch.is_grad_enabled():
            for value in inputs:
                if isinstance(value, Tensor) and value.requires_grad:
                    return self.eager(*inputs)
        return self.forward(inputs)


def _traced() -> bool:
    """Whether torch records operators now, or runs them on tensors without values, instead of only computing."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0 or torch.jit.is_tracing()


class _FirstDerivative(torch.autograd.Function):
    """A gradient as a function of what it depends on, without a derivative: an error instead of zeros that look like one."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, *depends_on: Tensor) -> Tensor:
        return grad.clone()  # a view of it could not be changed in place

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError("the rasterizer has first derivatives only; this differentiates one of its gradients again.")


def _refuse_tangents(inputs: NamedTuple) -> None:
    """NotImplementedError instead of a result that silently has no tangent."""
    for name, value in zip(inputs._fields, inputs, strict=True):
        if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            raise NotImplementedError(f"{name} has a tangent; the rasterizer has gradients (reverse mode), no forward mode.")


def wanted(ctx: Any, inputs: type) -> Any:
    """Which inputs need a gradient, as booleans in a tuple of type `inputs`."""
    return inputs(*ctx.needs_input_grad)


def _contiguous(inputs: Any) -> Any:
    """The inputs with every tensor contiguous, as the compiled code requires; a compiler may have laid them out otherwise."""
    return inputs._make([value.contiguous() if isinstance(value, Tensor) else value for value in inputs])

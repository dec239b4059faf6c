"""One training step of the autoencoder with a hand-written backward pass.

At a batch size of 64 the matrix products take about a millisecond and autograd as much again, so the step works in
preallocated tensors: all parameters are in one vector, all gradients in another, and one fused Adam update covers them.
Gradients equal those of autograd except for biases before a batch norm: these cannot change the output, and their gradient
stays exactly zero.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autoencoder.network import Autoencoder
from autoencoder.recipes import CosineAxis


class StepGradient:
    """Loss and gradients of one network for batches of one size.

    Loss: mean squared error + `cosine_weight` (1 - cosine), the cosine taken over the feature axis of each embedding or,
    as in the published code, over the batch axis of each channel. The network's parameters become views into
    `parameters`, in place; `gradients` has the same layout.
    """

    def __init__(self, network: Autoencoder, batch_size: int, cosine_axis: CosineAxis, cosine_weight: float):
        self.batch_size, self.cosine_axis, self.cosine_weight = batch_size, cosine_axis, cosine_weight
        self.parameters, self.gradients = _flatten(network)
        offsets = dict(_offsets(network))

        def gradient(parameter: nn.Parameter) -> Tensor:
            start = offsets[parameter]
            return self.gradients[start : start + parameter.numel()].view(parameter.shape)

        def layers(half: nn.ModuleList, input_width: int) -> list[_Layer]:
            built = []
            for module in half:
                if isinstance(module, nn.Linear):
                    built.append(_Layer(module, gradient(module.weight), gradient(module.bias), batch_size))
                elif isinstance(module, nn.BatchNorm1d):
                    built[-1].norm = _Norm(module, gradient(module.weight), gradient(module.bias))
            return built

        self.encoder = layers(network.encoder, network.feature_width)
        self.decoder = layers(network.decoder, network.code_width)

    def __call__(self, embeddings: Float[Tensor, "b d"]) -> Tensor:
        """Fill `gradients` for a batch of unit embeddings and return the loss, without synchronising with the device."""
        code, code_length = _normalised(_forward(self.encoder, embeddings))
        output, output_length = _normalised(_forward(self.decoder, code))
        loss, grad_output = self._loss(embeddings, output)
        grad_code = _backward(self.decoder, code, _through_normalisation(grad_output, output, output_length), to_input=True)
        _backward(self.encoder, embeddings, _through_normalisation(grad_code, code, code_length), to_input=False)
        return loss

    def _loss(self, target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        count, width = target.shape
        if self.cosine_axis == "feature":
            # Between unit vectors the squared error is 2 (1 - cosine) / d, so both terms merge into one. The backward pass
            # of the normalisation removes the gradient's component along the output.
            weight = 2 / width + self.cosine_weight
            loss = weight * (1 - torch.dot(output.view(-1), target.view(-1)) / count)
            return loss, target * (-weight / count)
        lengths = output.norm(dim=0).clamp_min(1e-8), target.norm(dim=0).clamp_min(1e-8)
        cosine = (output * target).sum(0) / (lengths[0] * lengths[1])
        difference = output - target
        loss = difference.square().mean() + self.cosine_weight * (1 - cosine.mean())
        pull = target / (lengths[0] * lengths[1]) - output * (cosine / lengths[0].square())
        return loss, difference * (2 / (count * width)) - pull * (self.cosine_weight / width)


class _Layer:
    """A linear layer, the batch norm after it if any, and the buffers of their forward and backward pass."""

    def __init__(self, linear: nn.Linear, grad_weight: Tensor, grad_bias: Tensor, batch_size: int):
        self.weight, self.bias = linear.weight.data, linear.bias.data
        self.grad_weight, self.grad_bias = grad_weight, grad_bias
        self.norm: _Norm | None = None
        self.sums = self.weight.new_ones(batch_size)  # a product with ones is the fastest sum over a small batch
        self.linear = self.weight.new_empty(batch_size, len(self.weight))
        self.activated = self.linear
        self.grad_input = self.weight.new_empty(batch_size, self.weight.shape[1])


class _Norm:
    def __init__(self, module: nn.BatchNorm1d, grad_weight: Tensor, grad_bias: Tensor):
        self.module = module
        self.weight, self.bias = module.weight.data, module.bias.data
        self.grad_weight, self.grad_bias = grad_weight, grad_bias
        self.mean = self.scale = None


def _forward(layers: list[_Layer], x: Tensor) -> Tensor:
    for layer in layers:
        torch.addmm(layer.bias, x, layer.weight.t(), out=layer.linear)
        x = layer.linear
        if layer is layers[-1]:
            break
        if layer.norm is not None:
            norm, module = layer.norm, layer.norm.module
            x, norm.mean, norm.scale = torch.native_batch_norm(
                x, norm.weight, norm.bias, module.running_mean, module.running_var, True, module.momentum, module.eps
            )
        layer.activated = x.relu_()
        x = layer.activated
    return x


def _backward(layers: list[_Layer], x: Tensor, grad: Tensor, to_input: bool) -> Tensor | None:
    for i in reversed(range(len(layers))):
        layer = layers[i]
        if i < len(layers) - 1:
            grad = torch.ops.aten.threshold_backward(grad, layer.activated, 0)
            if layer.norm is not None:
                grad = _through_norm(layer, grad)
        torch.mm(grad.t(), layers[i - 1].activated if i > 0 else x, out=layer.grad_weight)
        if layer.norm is None:
            torch.mv(grad.t(), layer.sums, out=layer.grad_bias)
        if i > 0 or to_input:
            grad = torch.mm(grad, layer.weight, out=layer.grad_input)
    return grad if to_input else None


def _through_norm(layer: _Layer, grad: Tensor) -> Tensor:
    norm, module = layer.norm, layer.norm.module
    grad, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
        grad,
        layer.linear,
        norm.weight,
        module.running_mean,
        module.running_var,
        norm.mean,
        norm.scale,
        True,
        module.eps,
        [True, True, True],
    )
    norm.grad_weight.copy_(grad_weight)
    norm.grad_bias.copy_(grad_bias)
    return grad


def _normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min_(1e-12)
    return x / length, length


def _through_normalisation(grad: Tensor, unit: Tensor, length: Tensor) -> Tensor:
    along = (grad * unit).sum(1, keepdim=True)
    return torch.addcmul(grad, unit, along, value=-1).div_(length)


def _offsets(network: nn.Module) -> list[tuple[nn.Parameter, int]]:
    found, start = [], 0
    for parameter in network.parameters():
        found.append((parameter, start))
        start += -(-parameter.numel() // 16) * 16  # rounded up to whole cache lines
    return found


def _flatten(network: nn.Module) -> tuple[Tensor, Tensor]:
    """One vector of all parameters, which become views into it, and one of zeros for the gradients."""
    places = _offsets(network)
    last, start = places[-1]
    flat = last.new_zeros(start + -(-last.numel() // 16) * 16)
    for parameter, start in places:
        view = flat[start : start + parameter.numel()].view(parameter.shape)
        view.copy_(parameter.data)
        parameter.data = view
    return flat, torch.zeros_like(flat)

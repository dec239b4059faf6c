"""A CUDA device for torch on machines without one: tensors "on cuda" are in host memory, and every operation checks devices.

While `SimulatedCuda` is active, `device="cuda"`, `.to("cuda")`, `.cuda()`, `.device` and `.is_cuda` behave as with a GPU, and
operations that fail with a GPU fail: those that mix devices, `.numpy()` of a tensor on the GPU, random numbers on the GPU from a
generator of the CPU. Values are computed on the CPU. Not simulated: streams, graphs, autocast, what torch does below Python.
"""

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
# Indices may be on the CPU; values of copies anywhere.
MIXING = {"__getitem__", "__setitem__", "copy_", "index_put_", "index_put", "type_as", "_has_compatible_shallow_copy_type"}
RANDOM = {"rand", "randn", "randint", "randperm", "normal_", "uniform_", "random_", "multinomial", "bernoulli"}
NOT_ON_GPU = {"numpy", "__array__"}
# Functions whose results are no new tensors.
PLAIN = {"size", "stride", "dim", "numel", "element_size", "data_ptr", "untyped_storage", "is_contiguous", "__len__"}


class SimulatedCuda(TorchFunctionMode):
    """Keeps which storages are on the device; a tensor is where its storage is."""

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, StorageWeakRef] = {}  # a weak reference keeps the address from being used again

    def on_device(self, tensor: Tensor) -> bool:
        """Whether the tensor is on the simulated GPU."""
        if tensor.layout != torch.strided:
            return self.on_device(tensor._values())
        found = self._storages.get(tensor.untyped_storage()._cdata)
        return found is not None and not found.expired()

    def put(self, tensor: Tensor) -> Tensor:
        """Declare the tensor's memory to be on the GPU."""
        if tensor.layout != torch.strided:
            self.put(tensor._values()), self.put(tensor._indices())
            return tensor
        storage = tensor.untyped_storage()
        if len(self._storages) > 5000:
            self._storages = {key: kept for key, kept in self._storages.items() if not kept.expired()}
        self._storages[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def moved(self, tensor: Tensor, device: torch.device) -> Tensor:
        """The tensor on a device, copied if it is not there."""
        if self.on_device(tensor) == (device.type == "cuda"):
            return tensor
        copy = tensor.clone()
        return self.put(copy) if device.type == "cuda" else copy

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one torch function on the CPU and answer as a GPU would."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        if name == "_parse_to":  # of Module.to, whose tensors follow one by one
            return func(*args, **kwargs)
        if name in ("__get__", "__set__"):
            return self._property(func, name, args)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if self.on_device(tensor)]
        if name in NOT_ON_GPU and there:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if name in ("to", "cuda", "cpu"):
            return self._move(func, name, args, kwargs)
        if name == "get_device":
            return 0 if there else -1
        device = self._device_of(name, args, kwargs, tensors, there)
        generator = kwargs.get("generator")
        if name in RANDOM and device.type == "cuda" and generator is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        result = func(*args, **kwargs)
        if name in PLAIN or device.type == "cpu":
            return result
        before = {id(tensor) for tensor in tensors}
        host = {t.untyped_storage()._cdata for t in tensors if t.layout == torch.strided and not self.on_device(t)}

        def place(tensor: Tensor) -> Tensor:
            if id(tensor) in before:
                return tensor
            if tensor.layout == torch.strided and tensor.untyped_storage()._cdata in host:
                tensor = tensor.clone()
            return self.put(tensor)

        return tree_map_only(Tensor, place, result)

    def _property(self, func: Any, kind: str, args: tuple) -> Any:
        name, tensor = func.__self__.__name__, args[0]
        if kind == "__get__":
            if name == "device":
                return CUDA if self.on_device(tensor) else func(*args)
            if name == "is_cuda":
                return self.on_device(tensor)
            if name == "is_cpu":
                return not self.on_device(tensor)
        result = func(*args)
        if isinstance(result, Tensor) and kind == "__get__" and self.on_device(tensor):
            self.put(result)  # a gradient, which the autograd engine allocated
        return result

    def _move(self, func: Any, name: str, args: tuple, kwargs: dict) -> Tensor:
        tensor, *rest = args
        if name in ("cuda", "cpu"):
            return self.moved(tensor, CUDA if name == "cuda" else CPU)
        device = CUDA if self.on_device(tensor) else CPU
        kept = []
        for value in rest:
            if isinstance(value, Tensor):
                device = CUDA if self.on_device(value) else CPU
                kept.append(value.dtype)
            elif isinstance(value, (str, torch.device)):
                device = torch.device(value)
            elif isinstance(value, torch.dtype):
                kept.append(value)
        if kwargs.get("device") is not None:
            device = torch.device(kwargs["device"])
        kwargs.pop("device", None)
        was_there = self.on_device(tensor)
        converted = func(tensor, *kept, **kwargs) if kept or kwargs else tensor
        if was_there and converted is not tensor:
            self.put(converted)
        return self.moved(converted, device)

    def _device_of(self, name: str, args: tuple, kwargs: dict, tensors: list[Tensor], there: list[Tensor]) -> torch.device:
        """Where the result goes; raises RuntimeError if the operation mixes devices."""
        if kwargs.get("device") is not None:
            return torch.device(kwargs.pop("device"))
        if name in MIXING:
            target = args[0]
            if isinstance(target, Tensor):
                if not self.on_device(target) and name in ("__getitem__", "__setitem__", "index_put_", "index_put"):
                    indices = [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, Tensor)]
                    if any(self.on_device(index) for index in indices):
                        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
                return CUDA if self.on_device(target) else CPU
        here = [tensor for tensor in tensors if not self.on_device(tensor) and tensor.dim() > 0]
        if there and here and name not in ("backward", "grad"):
            shapes = ", ".join(str(list(tensor.shape)) for tensor in here)
            raise RuntimeError(
                f"{name}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                f"On the CPU: {shapes}"
            )
        return CUDA if there else CPU


def _function_node_patches(mode: SimulatedCuda) -> list[Any]:
    """Gradients reach a Python backward pass in memory that the engine allocated: they are where the forward pass was."""
    node, function = torch.autograd.function.BackwardCFunction, torch.autograd.Function
    forward, run_backward = inspect.getattr_static(function, "apply"), torch.autograd._engine_run_backward

    def marked_forward(cls: type, *args: Any, **kwargs: Any) -> Any:
        result = forward.__get__(None, cls)(*args, **kwargs)
        on_device = any(mode.on_device(leaf) for leaf in tree_leaves(args) if isinstance(leaf, Tensor))
        for leaf in tree_leaves(result):
            if on_device and isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                leaf.grad_fn.metadata["simulated_cuda"] = True
        return result

    def placing(backward: Callable[..., Any]) -> Callable[..., Any]:
        def placed(self: Any, *grads: Any) -> Any:
            if self.metadata.get("simulated_cuda"):
                tree_map_only(Tensor, mode.put, grads)
            return backward(self, *grads)

        return placed

    def run_in_mode(*args: Any, **kwargs: Any) -> Any:
        with mode:  # off in __torch_function__, from where the engine is called
            return run_backward(*args, **kwargs)

    patches = [
        mock.patch.object(node, name, placing(getattr(node, name))) for name in ("apply", "apply_boxed") if hasattr(node, name)
    ]
    patches.append(mock.patch.object(function, "apply", classmethod(marked_forward)))
    patches.append(mock.patch.object(torch.autograd, "_engine_run_backward", run_in_mode))
    return patches


def _runtime_patches() -> list[Any]:
    """The functions of torch.cuda that the code under test calls."""
    stream = types.SimpleNamespace(
        cuda_stream=0, wait_stream=lambda other: None, synchronize=lambda: None, is_capturing=lambda: False
    )
    properties = types.SimpleNamespace(name="simulated", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)
    values = {
        "is_available": True, "device_count": 1, "current_device": 0, "synchronize": None, "current_stream": stream,
        "is_current_stream_capturing": False, "get_device_name": "simulated", "get_device_capability": (9, 0),
        "get_device_properties": properties, "empty_cache": None, "mem_get_info": (80 << 30, 80 << 30),
        "reset_peak_memory_stats": None, "max_memory_allocated": 0, "is_initialized": True, "_sleep": None,
        "is_bf16_supported": True,
    }  # fmt: skip
    patches = [mock.patch.object(torch.cuda, name, lambda *_, value=value, **__: value) for name, value in values.items()]
    if hasattr(torch, "accelerator"):
        patches.append(mock.patch.object(torch.accelerator, "current_stream", lambda *_: stream))
    patches.append(mock.patch.object(torch.cuda, "Stream", lambda *_, **__: stream))
    patches.append(mock.patch.object(torch.cuda, "stream", lambda _: contextlib.nullcontext()))
    return patches


@contextlib.contextmanager
def simulated_cuda() -> Iterator[SimulatedCuda]:
    """A simulated GPU, for this thread."""
    mode = SimulatedCuda()
    load = torch.load

    def load_there(*args: Any, map_location: Any = None, **kwargs: Any) -> Any:
        device = CPU if map_location is None else torch.device(map_location)
        loaded = load(*args, map_location="cpu", **kwargs)
        return tree_map_only(Tensor, mode.put, loaded) if device.type == "cuda" else loaded

    with contextlib.ExitStack() as stack:
        for patch in [*_runtime_patches(), *_function_node_patches(mode), mock.patch.object(torch, "load", load_there)]:
            stack.enter_context(patch)
        stack.enter_context(mode)
        yield mode

"""What PyTorch is doing at the moment: kernels read memory by its address, which only an ordinary tensor has.

A kernel that is called through ctypes is invisible to tracers and to automatic differentiation. They get an operator
(`torch.ops.fewbits`) or PyTorch's own operators instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx import Proxy

_C: Any = torch._C  # not all of it is typed


def is_traced(x: Tensor) -> bool:
    """Whether operators on this tensor are recorded, or handled by a mode or by a subclass of Tensor."""
    return (
        torch.compiler.is_compiling()
        or type(x) is not Tensor
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
    )


def wants_gradient(x: Tensor, bias: Tensor | None) -> bool:
    """Whether the derivative of a product with these is asked for: in reverse (`backward`) or in forward mode."""
    if forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad))


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype that a linear layer computes in under torch.autocast; None outside of it, and for float64."""
    if not torch._C._is_any_autocast_enabled():
        return None
    kind = x.device.type
    takes_part = torch.is_autocast_enabled(kind) and x.is_floating_point() and x.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if takes_part else None


def has_memory(x: Tensor) -> bool:
    """Whether there are values at the address of a tensor."""
    try:
        return x.layout is torch.strided and (x.data_ptr() != 0 or x.numel() == 0)
    except RuntimeError:
        return False


def is_jit_traced() -> bool:
    """Whether torch.jit.trace records operators now."""
    return not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None


@contextmanager
def constant_for_jit() -> Iterator[None]:
    """Within: torch.jit.trace records no operators. Tensors that are made here are constants of its graph."""
    if not is_jit_traced():
        yield
        return
    state = torch._C._get_tracing_state()
    _C._set_tracing_state(None)
    try:
        yield
    finally:
        _C._set_tracing_state(state)


def is_transformed() -> bool:
    """Whether a transformation of torch.func, such as torch.vmap, is at work."""
    return not torch.compiler.is_compiling() and _C._functorch.peek_interpreter_stack() is not None


def leaf_of(layer: nn.Module, x: Any) -> Any:
    """A node that calls this layer, if `x` is a symbol of torch.fx; None for a tensor, and for a layer traced by itself."""
    if type(x) is Tensor or not isinstance(x, Proxy):
        return None
    tracer: Any = x.tracer
    path = tracer.path_of_module(layer)
    return tracer.create_proxy("call_module", path, (x,), {}) if path else None

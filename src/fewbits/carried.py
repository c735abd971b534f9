"""Carry a layer's hooks and attributes over to the quantized layer that replaces it."""

import weakref
from typing import Any

from torch import nn

from fewbits.errors import FewbitsError

_OF_ANY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


def carry_over(old: nn.Module, new: nn.Module) -> None:
    """Give a layer's hooks and its own attributes to the layer that replaces it.

    The handles of the hooks stay valid: `handle.remove()` removes them from the new layer. Weights, and what the new layer has
    under the same name, are not touched.

    Args:
        old: the layer that is replaced.
        new: the quantized layer.
    """
    new.training = old.training
    for name in _HOOKS:
        _move_hooks(getattr(old, name, None), getattr(new, name, None), new, name)
    new._is_full_backward_hook = old._is_full_backward_hook
    mine = vars(new)
    for name, value in vars(old).items():
        if name not in _OF_ANY_MODULE and name not in mine and not hasattr(type(new), name):
            object.__setattr__(new, name, value)


def check_forward(layer: nn.Module) -> None:
    """Refuse a layer with a `forward` of its own, which would go on using the float weights. Raises FewbitsError."""
    if "forward" in vars(layer):
        raise FewbitsError(
            "its forward was replaced on this one layer (a patch, or hooks of accelerate): undo that, or --skip this layer"
        )


def _move_hooks(before: Any, own: Any, new: nn.Module, name: str) -> None:
    """Let the new layer have the old one's dictionary, which handles refer to, with its own hooks first."""
    if not before or own is None:
        return
    hooks = {**own, **before}
    before.clear()
    before.update(hooks)
    for hook in before.values():
        if getattr(hook, "with_module", False):  # it was registered with the module as an argument
            hook.module = weakref.ref(new)
    object.__setattr__(new, name, before)

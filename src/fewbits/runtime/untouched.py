"""Whether a model is exactly one of `known.MODELS`: its classes, their forward, hooks, children, tensors and settings."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from fewbits.layers import QuantizedLayer
from fewbits.runtime import known, settings
from fewbits.runtime.fingerprint import HOOKS
from fewbits.runtime.known import UnknownStructure

_CAPTURE = "transformers.utils.output_capturing"  # its hooks record outputs and change nothing


def check_unpatched(model: nn.Module) -> None:
    """Raises UnknownStructure for a forward of its own, a forward hook or a parametrization on any module."""
    check_global_hooks()
    for name, module in model.named_modules():
        place = name or "the model"
        own = module.__dict__.get("forward")
        if own is not None and not (getattr(own, "__self__", None) is module and own.__func__ is type(module).forward):
            raise UnknownStructure(f"{place} has a patched forward")  # its class's forward, put back after a patch, is fine
        if any(_counts(hook) for hooks in HOOKS for hook in module.__dict__[hooks].values()):
            raise UnknownStructure(f"{place} has a forward hook")
        if "parametrizations" in module.__dict__["_modules"]:
            raise UnknownStructure(f"{place} is parametrized")


def check_global_hooks() -> None:
    """Raises UnknownStructure while hooks are registered for all modules."""
    if torch.nn.modules.module._has_any_global_hook():
        raise UnknownStructure("a hook is registered for all modules")


def check_dropout(model: Any) -> None:
    """Raises UnknownStructure for a model whose forward draws random numbers now."""
    if not any(module.training for module in model.modules()):
        return
    settings = [value for name, value in vars(model.config).items() if name.endswith(("dropout", "pdrop"))]
    if any(settings) or any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
        raise UnknownStructure("it is in training mode and has dropout")


def check_modules(model: nn.Module) -> None:
    """Raises UnknownStructure for a class that is not known, or children and tensors that it does not have in transformers."""
    tree = known.MODELS.get(known.name_of(type(model)))
    if tree is None:
        raise UnknownStructure(f"{type(model).__name__} is not one of the models that the fused step knows")
    _compare(model, tree, "the model")


def check_settings(config: Any) -> None:
    """Raises UnknownStructure for a setting that may change what the model computes and is not known."""
    if vars(config).get("_attn_implementation_internal") not in settings.ATTENTIONS:
        raise UnknownStructure(f"its attention is {vars(config)['_attn_implementation_internal']!r:.60}")
    defaults = _defaults(type(config))
    for name, value in vars(config).items():
        if name.startswith("_") or value is None or settings.is_known(name, value):
            continue
        if name in settings.ONLY or name not in defaults or value != defaults[name]:
            raise UnknownStructure(f"it sets {name}")


def _counts(hook: Any) -> bool:
    return getattr(hook, "__module__", None) != _CAPTURE


def _compare(module: nn.Module, node: known.Node, place: str) -> None:
    kind = type(module)
    if node is known.ACTIVATION:
        fits = known.is_activation(module)
    else:
        fits = known.name_of(kind) in node.kinds
    if not fits:
        raise UnknownStructure(f"{place} is of the unknown class {kind.__name__}")
    for method in ("forward", "__call__"):
        _check_method(kind, method, place)
    children = module.__dict__["_modules"]
    if node.each is not None:
        for i, child in enumerate(children.values()):
            _compare(child, node.each, f"{place}.{i}")
        return
    if children.keys() != node.children.keys():
        names = ", ".join(sorted(children.keys() ^ node.children.keys()))
        raise UnknownStructure(f"{place} has other parts than its class: {names}")
    _check_tensors(module, node, place)
    for name, child in children.items():
        if child is None:
            raise UnknownStructure(f"{place} has no {name}")
        _compare(child, node.children[name], name if place == "the model" else f"{place}.{name}")


def _check_tensors(module: nn.Module, node: known.Node, place: str) -> None:
    if isinstance(module, QuantizedLayer):  # its tensors follow from its format
        return
    tensors = {**module.__dict__["_parameters"], **module.__dict__["_buffers"]}
    extra = {name for name, tensor in tensors.items() if tensor is not None} - node.tensors
    if extra:
        raise UnknownStructure(f"{place} also has {', '.join(sorted(extra))}")


def _check_method(kind: type, name: str, place: str) -> None:
    """Raises UnknownStructure if a method was put into the class from outside."""
    owner = next(base for base in kind.__mro__ if name in vars(base))
    method = vars(owner)[name]
    if owner is nn.Module:
        return
    if getattr(method, "__module__", None) != owner.__module__ or method.__qualname__ != f"{owner.__qualname__}.{name}":
        raise UnknownStructure(f"{place} has a patched {name}")


@cache
def _defaults(kind: type) -> Mapping[str, Any]:
    """The settings of a class of configurations; none where it cannot be made without arguments."""
    if not kind.__module__.startswith("transformers."):
        return {}
    try:
        return vars(kind())
    except Exception:
        return {}

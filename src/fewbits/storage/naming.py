"""Names of layers and tensors: transformers gives a model's parts other names in files, and in a model around or within it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from fewbits.plan import Decision, Plan


def fitted(plan: Plan, model: nn.Module) -> Plan:
    """The plan with the names that its layers have in this model.

    The class that was saved takes the plan as it is. Another class of the family (`AutoModel` of a causal model, a
    classifier around it) has or lacks the prefix of the base model, and may lack the head. Raises FewbitsError where no
    layer of the plan is found.
    """
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    if type(model).__name__ in (getattr(_config(model), "architectures", None) or ()):
        return plan
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    found = {d.name: _find(d.name, prefix, names) for d in plan.decisions}
    decisions = tuple(_renamed(d, found) for d in plan.decisions if found[d.name] is not None)
    if not any(d.scheme for d in decisions):
        raise FewbitsError(f"the plan is for another model: a {type(model).__name__} has none of its layers")
    return replace(plan, decisions=decisions)


def as_in_memory(model: Any, stored: Collection[str]) -> bool:
    """Whether a transformers model's tensors are stored under the very names that they have in memory."""
    tied = getattr(model, "all_tied_weights_keys", {})
    return all(name in stored for name in model.state_dict() if name not in tied and name not in tied.values())


def check_shapes(model: nn.Module, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Raise FewbitsError that names a tensor of a quantized layer which is stored in another shape."""
    for name, layer in model.named_modules():
        if isinstance(layer, QuantizedLayer):
            for key, tensor in layer.state_dict(prefix=f"{name}.").items():
                if stored.get(key, tensor.shape) != tuple(tensor.shape):  # a tied bias is stored under another name
                    raise FewbitsError(f"tensor {key}: is saved as {stored[key]}, but the plan's is {tuple(tensor.shape)}")


def _find(name: str, prefix: str, names: Collection[str]) -> str | None:
    return next((n for n in (name, name.removeprefix(prefix), prefix + name) if n in names), None)


def _renamed(decision: Decision, found: Mapping[str, str | None]) -> Decision:
    name = found[decision.name] or decision.name
    return replace(decision, name=name, tied_to=found.get(decision.tied_to) if decision.tied_to else None)


def _config(model: nn.Module) -> Any:
    return getattr(model, "config", None)

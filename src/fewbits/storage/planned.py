"""A plan from a file, checked against the model whose layers it is about to replace."""

from torch import nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.plan import Decision, Plan


def check(plan: Plan, model: nn.Module) -> None:
    """Check that every layer of a plan can be put in place, before any is.

    Raises:
        FewbitsError: A layer is missing, is there twice, cannot be quantized, or is tied to one that stores no weight.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    seen: dict[str, Decision] = {}
    for decision in plan.decisions:
        if decision.scheme is None:
            continue
        if decision.name not in modules:
            raise FewbitsError(f"layer {decision.name}: the model has none of that name; the plan is for another model")
        if decision.name in seen:
            raise FewbitsError(f"layer {decision.name}: is in the plan twice: config.json is damaged")
        if decision.tied_to is not None:
            _check_tie(decision, seen, modules)
        seen[decision.name] = decision


def _check_tie(decision: Decision, seen: dict[str, Decision], modules: dict[str, nn.Module]) -> None:
    owner = seen.get(decision.tied_to or "")
    if owner is None or owner.tied_to is not None or owner.scheme != decision.scheme:
        raise FewbitsError(
            f"layer {decision.name}: is tied to {decision.tied_to}, which stores no weight in {decision.scheme} before it:"
            " config.json is damaged"
        )
    if _shape(modules[decision.name]) != _shape(modules[owner.name]):
        raise FewbitsError(
            f"layer {decision.name}: is tied to {owner.name}, whose weight has another shape: config.json is damaged"
        )


def _shape(layer: nn.Module) -> tuple[int, ...] | None:
    if isinstance(layer, QuantizedLayer):
        return layer.shape
    kind = replacement_for(layer)
    return None if kind is None else tuple(kind.matrix_of(layer).shape)

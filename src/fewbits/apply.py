"""A plan applied to a model: decide for every layer, check all that can be checked, then quantize in place."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from fewbits import methods
from fewbits.adapters import check_no_adapter
from fewbits.carried import carry_over, check_forward
from fewbits.errors import FewbitsError, MisfitError
from fewbits.finite import check_finite_model
from fewbits.layers import QuantizedLayer, replacement_for
from fewbits.methods._checks import check_dtype
from fewbits.methods._gpu import checked_together, not_together
from fewbits.plan import Decision, OnMisfit, Plan, PlanLike
from fewbits.progress import track
from fewbits.roles import kept_by_default
from fewbits.scheme import Scheme

_PENDING = 1 << 28  # bytes of weights that are kept until a GPU is waited for
_ATTRIBUTE = "_fewbits_plan"
T = TypeVar("T")


def quantize(model: nn.Module, plan: PlanLike, *, skip: tuple[str, ...] = (), on_misfit: OnMisfit = "error") -> nn.Module:
    """Quantize a model in place and return it.

    `plan` is a scheme ("hqq:uint4g64"), a mapping of patterns to schemes (first match wins), or a Plan; `skip` patterns are
    kept. Needs little more memory than the model: each layer is replaced before the next is read.

    Raises FewbitsError, naming the layer, before anything is changed, for a bad scheme, a group that does not divide, a rule
    that matches no layer, NaN or infinity outside skipped layers; and for a scale that its type cannot hold.
    """
    from fewbits.storage.live import settle  # here: storage builds on this module

    resolved = resolve(model, Plan.of(plan, skip=skip, on_misfit=on_misfit))
    _check_finite(model, resolved)
    with checked_together() as later:
        pending: dict[str, Tensor] = {}  # weights on a GPU whose scales are still to be looked at
        for decision in track(resolved.decisions, "quantizing", unit="layer"):
            if decision.scheme is not None:
                later.name = decision.name
                weight = _on_gpu(model, decision.name)
                model = _replace(model, decision, decision.scheme)
                if weight is not None and decision.name in later.stats:
                    pending[decision.name] = weight
                if sum(w.nbytes for w in pending.values()) > _PENDING:
                    _fit_unusual(model, later.unusual(pending), pending)
                    pending = {}
        _fit_unusual(model, later.unusual(pending), pending)
    resolved = _as_made(model, resolved)
    setattr(model, _ATTRIBUTE, resolved)
    settle(model, resolved)
    return model


def _fit_unusual(model: nn.Module, names: list[str], weights: Mapping[str, Tensor]) -> None:
    """Quantize again, waiting for each, what a GPU has quantized with scales that may not fit their type."""
    for name in names:
        layer = cast(QuantizedLayer, model.get_submodule(name))
        with not_together():
            layer.fill(_named(name, partial(layer.scheme.quantize, weights[name])))


def _on_gpu(model: nn.Module, name: str) -> Tensor | None:
    """The weight of a float layer with its outputs first; None if it is not on a GPU, or the layer is quantized."""
    layer = model.get_submodule(name)
    kind = replacement_for(layer)
    return None if kind is None or not layer.get_parameter("weight").is_cuda else kind.matrix_of(layer).detach()


def _check_finite(model: nn.Module, resolved: Plan) -> None:
    weights = {d.name: model.get_submodule(d.name).get_parameter("weight") for d in resolved.decisions if d.scheme is not None}
    skipped = {d.name for d in resolved.decisions if d.scheme is None and d.why.startswith("rule ")}
    check_finite_model(model, weights, skipped)


def plan_of(model: nn.Module) -> Plan | None:
    """The plan that the model was quantized by, with every decision; None for a model as it was trained."""
    plan = getattr(model, _ATTRIBUTE, None)
    return None if plan is None else _as_made(model, plan)


def _as_made(model: nn.Module, plan: Plan) -> Plan:
    """The plan with the formats that its layers have: a weight may have needed other scales than its scheme has."""
    layers = dict(model.named_modules(remove_duplicate=False))
    made = tuple(_decision_as_made(d, layers.get(d.name)) for d in plan.decisions)
    return plan if made == plan.decisions else replace(plan, decisions=made)


def _decision_as_made(decision: Decision, layer: nn.Module | None) -> Decision:
    if decision.scheme is None or not isinstance(layer, QuantizedLayer):
        return decision
    made, asked = layer.owner.scheme.format, decision.scheme.format
    if made == asked or replace(made, meta=asked.meta, exponent=asked.exponent) != asked:
        return decision  # as it is, or a layer of another scheme: `check_plan` refuses it
    why = decision.why.partition("; scales")[0] + f"; scales do not fit /{asked.meta}"
    return replace(decision, scheme=replace(decision.scheme, format=made), why=why)


def resolve(model: nn.Module, plan: Plan) -> Plan:
    """Decide for every layer of a model, which may be on the meta device; nothing is changed."""
    if any(isinstance(m, QuantizedLayer) for m in model.modules()):
        raise FewbitsError("this model is quantized already: start from the original")
    check_no_adapter(model)
    layers = _layers(model)
    kept = kept_by_default(model)
    decisions = [_decide(name, layer, plan, kept.get(name)) for name, layer in layers.items()]
    decisions = _tie(decisions, layers)
    _check(decisions, plan)
    total = sum(p.numel() for p in model.parameters())
    return replace(plan, decisions=tuple(decisions), total_params=total)


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every place in the model where a layer stands that can be replaced; one layer may stand in several (T5's embedding)."""
    places: dict[tuple[int, str], tuple[str, nn.Module]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if replacement_for(module) is not None:
            parent, _, child = name.rpartition(".")
            places.setdefault((id(model.get_submodule(parent)), child), (name, module))
    return dict(places.values())


def _decide(name: str, layer: nn.Module, plan: Plan, kept: str | None) -> Decision:
    rule = plan.rule_for(name, kept_by_default=kept is not None)
    kind, params = type(layer).__name__, cast(Tensor, layer.weight).numel()
    if rule is None or rule.scheme is None:
        why = f"rule {rule.match}" if rule else kept or "no rule"
        return Decision(name=name, kind=kind, params=params, scheme=None, why=why)
    scheme, why = _named(name, partial(_fit, layer, rule.scheme, plan.on_misfit))
    return Decision(name=name, kind=kind, params=params, scheme=scheme, why=f"rule {rule.match}{why}")


def _fit(layer: nn.Module, scheme: Scheme, on_misfit: OnMisfit) -> tuple[Scheme | None, str]:
    """The scheme, or what the user wants where its groups do not divide the layer."""
    methods.get(scheme.method).check(scheme.format)
    kind = replacement_for(layer)
    if kind is None:
        raise FewbitsError(f"{type(layer).__name__} cannot be quantized")
    if is_parametrized(layer) or "weight" not in dict(layer.named_parameters(recurse=False)):
        raise FewbitsError(
            "its weight or bias is computed at each call (parametrization, pruning, weight_norm): make it permanent"
            " (remove_parametrizations, torch.nn.utils.prune.remove, remove_weight_norm), or --skip this layer"
        )
    check_dtype(layer.get_parameter("weight"))
    check_forward(layer)
    try:
        kind.check(layer, scheme)
    except MisfitError as misfit:
        if on_misfit == "error":
            raise
        reason = f"; {str(misfit).partition(':')[0]}"
        if on_misfit == "keep":
            return None, reason
        return replace(scheme, format=replace(scheme.format, granularity="channel", group=0)), reason
    return scheme, ""


def _weight_key(layer: nn.Module) -> int:
    """The same for layers that share a weight. One that is computed is another at each access, and shared by none."""
    return id(layer._parameters.get("weight", layer))


def _tie(decisions: list[Decision], layers: dict[str, nn.Module]) -> list[Decision]:
    """Layers that share one weight get one scheme and store it once: the first that has a scheme decides."""
    owners: dict[int, str] = {}
    schemes: dict[int, Decision] = {}
    for d in decisions:
        key = _weight_key(layers[d.name])
        owners.setdefault(key, d.name)
        if d.scheme is not None:
            first = schemes.setdefault(key, d)
            if first.scheme != d.scheme:
                raise FewbitsError(
                    f"layer {d.name}: shares its weight with {first.name}, so both take one scheme,"
                    f" not {first.scheme} and {d.scheme}"
                )
    tied = []
    for d in decisions:
        key = _weight_key(layers[d.name])
        owner, decider = owners[key], schemes.get(key)
        if decider is not None and d.scheme is None:
            if d.why.startswith("rule "):
                raise FewbitsError(
                    f"layer {d.name}: kept by {d.why}, but it shares its weight with {decider.name}, which takes"
                    f" {decider.scheme}: give both one scheme"
                )
            d = replace(d, scheme=decider.scheme, why=f"tied to {decider.name}")
        tied.append(replace(d, tied_to=owner) if d.name != owner else d)
    return tied


def _check(decisions: list[Decision], plan: Plan) -> None:
    """Refuse a plan that does nothing, or whose rules are for another model."""
    if not plan.rules:
        raise FewbitsError("nothing to quantize: the plan has no rules")
    if not decisions:
        raise FewbitsError("nothing to quantize: the model has no Linear, Conv2d, Conv1D or Embedding layer")
    names = [d.name for d in decisions]
    for rule in plan.rules:
        if not any(rule.matches(name) for name in names):
            raise FewbitsError(
                f"rule '{rule}' matches no layer: is the plan for another model? Layers here: {_examples(names)}"
            )
    if any(r.scheme for r in plan.rules) and not any(d.scheme for d in decisions):
        raise FewbitsError(f"nothing to quantize: every layer is kept ({', '.join(sorted({d.why for d in decisions}))})")


def _examples(names: list[str]) -> str:
    return ", ".join(names[:: max(1, len(names) // 3)][:4])


def rebuild(model: nn.Module, plan: Plan) -> nn.Module:
    """Put the quantized layers of a plan that has met this model in place, their tensors not yet filled.

    For a folder that is about to be read, and for sizes told from a model on the meta device. Raises FewbitsError where the
    model has no such layer.
    """
    for decision in plan.decisions:
        if decision.scheme is not None:
            model = _replace(model, decision, decision.scheme, empty=True)
    setattr(model, _ATTRIBUTE, plan)
    return model


def _replace(model: nn.Module, decision: Decision, scheme: Scheme, *, empty: bool = False) -> nn.Module:
    name = decision.name
    try:
        layer = model.get_submodule(name)
    except AttributeError:
        raise FewbitsError(f"layer {name}: the model has none of that name; the plan is for another model") from None
    kind = replacement_for(layer)
    if kind is None:
        raise FewbitsError(f"layer {name}: a {type(layer).__name__} cannot be quantized")
    if decision.tied_to is not None:
        new = kind.empty_like(layer, scheme, device="meta")
        new.tie(cast(QuantizedLayer, model.get_submodule(decision.tied_to)))
    else:
        make = kind.empty_like if empty else kind.from_float
        new = _named(name, partial(make, layer, scheme))
    carry_over(layer, new)
    if not name:
        return new
    model.set_submodule(name, new)
    return model


def _named(name: str, work: Callable[[], T]) -> T:
    """Do the work, and put the layer's name before what goes wrong."""
    try:
        return work()
    except FewbitsError as error:
        raise type(error)(f"layer {name or '(the model itself)'}: {error}") from None

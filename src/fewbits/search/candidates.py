"""The schemes that a search chooses among, and what each costs in each place of a model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import cast

from torch import Tensor, nn

from fewbits.apply import resolve
from fewbits.errors import FewbitsError, MisfitError
from fewbits.layers import replacement_for
from fewbits.measure.size import size
from fewbits.pieces import pieces
from fewbits.plan import Decision, Plan, Rule
from fewbits.scheme import KEEP, Scheme
from fewbits.search.space import Option, Space, Unit

# Widths, groups and methods; the scales in 8 bits, which pay for smaller groups.
DEFAULT = (
    "mse:uint2g64/q8",
    "mse:uint2g32/q8",
    "hqq:uint2g16/q8",
    "mse:uint3g64/q8",
    "hqq:uint3g32/q8",
    "hqq:uint3g16/q8",
    "mse:uint4g64/q8",
    "hqq:uint4g32/q8",
    "hqq:uint5g64/q8",
    "hqq:uint6g64/q8",
    "hqq:uint8g64/q8",
)


def space_of(
    model: nn.Module,
    candidates: Sequence[str] = DEFAULT,
    *,
    rules: Sequence[Rule] = (),
    include: Sequence[str] = (),
    together: Sequence[str] = (),
) -> Space:
    """All that can be chosen for a model.

    `rules` fix layers, `include` are patterns of layers that are kept by default and shall be searched too (`lm_head`), and
    layers of one block that match the same pattern of `together` take one scheme (`*.self_attn.[qkv]_proj`).

    Raises FewbitsError for no candidates, candidates that fit no layer, and as `quantize` does for rules.
    """
    schemes = _parse(candidates)
    searched = (*(Rule(match=pattern, scheme=schemes[0]) for pattern in include), Rule(match="*", scheme=schemes[0]))
    resolved = resolve(model, Plan(rules=(*rules, *searched), on_misfit="channel"))
    mine = {f"rule {rule.match}" for rule in searched}
    free = [d for d in resolved.decisions if d.scheme is not None and d.why.partition(";")[0] in mine and d.tied_to is None]
    units = tuple(_unit(model, group, resolved.decisions, schemes) for group in _groups(free, together))
    units = tuple(unit for unit in units if len(unit.options) > 1)
    if not units:
        raise FewbitsError(f"no candidate fits any layer that is searched: {', '.join(map(str, schemes))}")
    total = size(model).value - sum(unit.options[-1].nbytes for unit in units)
    saved = sum(_saved(model, d) for d in resolved.decisions if d.scheme is not None and d.why.partition(";")[0] not in mine)
    return Space(
        units=units,
        fixed=int(total) - saved,
        candidates=tuple(map(str, schemes)),
        rules=tuple(rules),
        total_params=resolved.total_params,
    )


def _parse(candidates: Sequence[str]) -> list[Scheme]:
    schemes = [Scheme.parse(text) for text in dict.fromkeys(candidates) if text != KEEP]
    if not schemes:
        raise FewbitsError("no candidates: give schemes to choose among, such as --candidate hqq:uint4g64")
    return schemes


def _groups(free: Sequence[Decision], together: Iterable[str]) -> list[list[Decision]]:
    """Layers of one parent that match one pattern of `together`; every other layer is alone."""
    groups: dict[tuple[str, str], list[Decision]] = {}
    patterns = tuple(together)
    for d in free:
        pattern = next((p for p in patterns if fnmatchcase(d.name, p)), None)
        groups.setdefault((pattern or "", d.name.rpartition(".")[0] if pattern else d.name), []).append(d)
    if unused := [p for p in patterns if not any(key[0] == p for key in groups)]:
        raise FewbitsError(f"--together '{unused[0]}' matches no layer that is searched")
    return list(groups.values())


def _unit(model: nn.Module, group: list[Decision], decisions: Iterable[Decision], schemes: list[Scheme]) -> Unit:
    names = tuple(d.name for d in group)
    layers = [model.get_submodule(name) for name in names]
    options: dict[str, Option] = {}
    for scheme in schemes:
        made = _option(layers, scheme)
        if made is not None:
            known = options.get(str(made))
            options[str(made)] = made if known is None else replace(known, candidate=f"{known.candidate} {scheme}")
    keep = sum(cast(Tensor, layer.weight).nbytes for layer in layers)
    return Unit(
        name=names[0] if len(names) == 1 else _common(names),
        layers=names,
        tied=tuple(d.name for d in decisions if d.tied_to in names),
        params=sum(d.params for d in group),
        options=(*options.values(), Option(scheme=None, nbytes=keep, candidate=KEEP)),
    )


def _option(layers: Sequence[nn.Module], scheme: Scheme) -> Option | None:
    """What a scheme costs for these layers; with one scale a channel where its groups do not divide; None if it cannot be."""
    for form in (scheme, replace(scheme, format=replace(scheme.format, granularity="channel", group=0))):
        try:
            return Option(scheme=form, nbytes=sum(stored_bytes(layer, form) for layer in layers), candidate=str(scheme))
        except MisfitError:
            continue
        except FewbitsError:
            return None
    return None


def stored_bytes(layer: nn.Module, scheme: Scheme) -> int:
    """Bytes of codes, scales and zero points of a layer. Raises FewbitsError where the scheme does not fit it."""
    kind = replacement_for(layer)
    if kind is None:
        raise FewbitsError(f"{type(layer).__name__} cannot be quantized")
    kind.empty_like(layer, scheme, device="meta")
    return sum(piece.nbytes for piece in pieces(scheme.format, tuple(kind.matrix_of(layer).shape)).values())


def _saved(model: nn.Module, decision: Decision) -> int:
    """Bytes that a fixed rule saves."""
    if decision.tied_to is not None or decision.scheme is None:
        return 0
    layer = model.get_submodule(decision.name)
    return cast(Tensor, layer.weight).nbytes - stored_bytes(layer, decision.scheme)


def _common(names: Sequence[str]) -> str:
    parent = names[0].rpartition(".")[0]
    return f"{parent}.({'|'.join(name.rpartition('.')[2] for name in names)})"

"""The items of a study: what is done by itself, is stored by itself, and is done again only if what made it changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from fewbits import models, peers
from fewbits.apply import resolve
from fewbits.errors import FewbitsError
from fewbits.evaluate.settings import Settings
from fewbits.models import Loaded
from fewbits.peers.base import NotInstalledError
from fewbits.plan import Plan, Rule
from fewbits.scheme import parse_target
from fewbits.study import identity
from fewbits.study.paths import absolute
from fewbits.study.spec import RowSpec, Spec

Kind = Literal["row", "alone", "weights"]
_FREE = 1 << 30  # bytes that torch, the libraries and the logits of a batch take


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to do, in any process: `source` and the settings name models and data by absolute paths.

    `row` is that of a row, `scheme` that of figures by layer. `plan` has met the model. `problem` says why it cannot be done;
    `skipped` means that an optional library is not installed. `nbytes` is about the memory that it needs.
    """

    kind: Kind
    key: str
    model: str
    source: str
    label: str
    settings: Settings
    row: RowSpec | None = None
    plan: Plan | None = None
    scheme: str = ""
    problem: str | None = None
    skipped: bool = False
    nbytes: int = _FREE


@dataclass(kw_only=True)
class Agenda:
    """All items of a study in the order they are done, and the data that they read."""

    items: list[Item] = field(default_factory=list)
    data: list[str] = field(default_factory=list)

    def matching(self, only: str | None) -> list[Item]:
        """Those whose label or model matches a pattern; an exact piece of the label does as well."""
        if only is None:
            return self.items
        found = [item for item in self.items if matches(only, item.model, item.label)]
        if not found:
            raise FewbitsError(f"--only '{only}' matches none of {', '.join(dict.fromkeys(i.label for i in self.items))}")
        return found


def matches(only: str | None, model: str, label: str) -> bool:
    """Whether `--only` means a row of a model; None means every row."""
    return only is None or any(fnmatchcase(text, f"*{only}*") for text in (label, f"{model} {label}"))


def label_of(kind: Kind, scheme: str) -> str:
    """What an item of figures by layer is called."""
    return f"each layer alone in {scheme}" if kind == "alone" else f"weights, and the grid of {scheme}"


def agenda(spec: Spec) -> Agenda:
    """Look at models, data and plans, without reading weights into memory, and tell what is to be done.

    What does not fit one model becomes that row's problem. Raises FewbitsError for models and data that are not there.
    """
    made = Agenda()
    for name in spec.models:
        made.items += _of_model(spec, name, made)
    return made


def load(name: str, settings: Settings, *, weights: bool = True) -> Loaded:
    """The model as it is stored. Only timm's are told how many classes they have: others bring their own."""
    classes = settings.classes if name.startswith("timm/") else None
    device, trusted = settings.device if weights else "cpu", settings.trust_remote_code
    return models.load(name, classes=classes, device=device, weights=weights, trust_remote_code=trusted)


def _of_model(spec: Spec, name: str, made: Agenda) -> list[Item]:
    settings = spec.settings
    key = "models" if "models" in spec.lines else "model"
    loaded = _named(spec, key, lambda: load(name, settings, weights=False))
    _named(spec, "measures", lambda: settings.wanted(loaded.task))
    text = "text" if loaded.task == "causal-lm" else "images"
    quality = identity.needs_data(loaded, settings)
    reads = quality or spec.alone is not None
    digest, source = _named(spec, text, lambda: identity.data_digest(loaded, settings)) if reads else ("", "")
    told = f"{source} ({digest[:19]}...)" if source else ""
    if told and told not in made.data:
        made.data.append(told)
    place = replace(settings, text=absolute(settings.text), images=absolute(settings.images))
    common: dict[str, Any] = {"model": name, "settings": place, "nbytes": _memory(loaded)}
    common["source"] = absolute(name) or name
    model = _named(spec, key, lambda: identity.model_digest(loaded, settings))
    parts = {
        "model": model,
        "data": digest if quality else "",
        "settings": identity.settings_parts(settings, loaded.task),
    }
    rows = [_row(row, loaded, common, parts) for row in spec.rows]
    known = {"weights": {"model": model}}
    known["alone"] = {**parts, "data": digest, "settings": identity.settings_parts(settings, loaded.task, quality=True)}
    return rows + [_by_layer(kind, scheme, common, known[kind]) for kind, scheme in _told_by_layer(spec)]


def _row(row: RowSpec, loaded: Loaded, common: dict[str, Any], parts: dict[str, Any]) -> Item:
    common = common | {"kind": "row", "label": row.label, "row": row}
    try:
        plan = plan_for(row, loaded)
        made: dict[str, Any] = {"plan": identity.plan_parts(plan)}
        if row.peer is not None:
            version = peers.make(row.peer, row.options).check()
            made["peer"] = [row.peer, version, dict(row.options)]
    except FewbitsError as error:
        key = identity.key_of("row", **parts, label=row.label, rules=row.rules, peer=row.peer, options=row.options)
        return Item(key=key, problem=str(error), skipped=isinstance(error, NotInstalledError), **common)
    return Item(key=identity.key_of("row", **parts, **made), plan=plan, **common)


def plan_for(row: RowSpec, loaded: Loaded) -> Plan | None:
    """The row's plan with a decision for every layer of this model; None for the original and for peers."""
    if row.original or row.peer is not None:
        return None
    rules: Sequence[tuple[str, str]] = row.rules
    if row.blocks is not None:
        rules = (*row.rules, *row.blocks.rules(name for name, _ in loaded.model.named_modules()))
    made = Plan(rules=tuple(Rule(match=m, scheme=parse_target(s)) for m, s in rules), on_misfit=row.on_misfit)
    return resolve(loaded.model, made)


def _told_by_layer(spec: Spec) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []
    if spec.weights is not None:
        found.append(("weights", spec.weights))
    if spec.alone is not None:
        found.append(("alone", spec.alone))
    return found


def _by_layer(kind: Kind, scheme: str, common: dict[str, Any], parts: dict[str, Any]) -> Item:
    key = identity.key_of(kind, scheme=scheme, **parts)
    return Item(kind=kind, key=key, label=label_of(kind, scheme), scheme=scheme, **common)


def _memory(loaded: Loaded) -> int:
    """The original in float32, a quantized copy, and the loaded weights while they are quantized."""
    return _FREE + 3 * 4 * sum(p.numel() for p in loaded.model.parameters())


def _named(spec: Spec, key: str, make: Any) -> Any:
    """What `make` returns; a FewbitsError of its own gets the place in the file in front, if the file has the key."""
    try:
        return make()
    except FewbitsError as error:
        if key not in spec.lines:
            raise
        raise FewbitsError(f"{spec.at(key)}: {error}") from error

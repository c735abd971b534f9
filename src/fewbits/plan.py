"""Plans: for every layer of one model, a scheme or `keep`; made from ordered rules, the first that matches wins.

A rule's pattern is a glob on the layer's name (`*attn*`), or `re:` and a regular expression for the whole name.
What the model keeps by default (embeddings, the output head, routers) is reached only by a pattern that names it:
`lm_head`, `*embed_tokens`, `re:.*`; a bare `*` means the rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, cast, get_args

from fewbits.errors import FewbitsError, shown
from fewbits.patterns import matcher
from fewbits.scheme import KEEP, Scheme, parse_target

OnMisfit = Literal["error", "keep", "channel"]
VERSION = 1  # of the YAML


def misfit_named(value: object) -> OnMisfit:
    """What to do with a misfit, as a file or a user names it. Raises FewbitsError for anything else."""
    if value not in get_args(OnMisfit):
        raise FewbitsError(f"on_misfit is one of {', '.join(get_args(OnMisfit))}, not {shown(value)}")
    return cast(OnMisfit, value)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Layers whose name matches `match` get `scheme`; None keeps them as they are."""

    match: str
    scheme: Scheme | None

    def __post_init__(self) -> None:
        matcher(self.match)

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read `GLOB=SCHEME`."""
        match, equals, target = text.rpartition("=")
        if not equals or not match.strip():
            raise FewbitsError(f"a rule is GLOB=SCHEME, such as '*attn*=rtn:int8' or '*=keep', not '{text}'")
        return cls(match=match.strip(), scheme=parse_target(target))

    def __str__(self) -> str:
        return f"{self.match}={self.scheme or KEEP}"

    def matches(self, name: str) -> bool:
        return matcher(self.match)(name)

    def names(self, name: str) -> bool:
        """Whether the pattern means this very layer: the last part of its name, not just a folder above it."""
        if self.match.startswith("re:") or self.match == name:
            return self.matches(name)
        last = self.match.rpartition(".")[2].strip("*")
        return self.matches(name) and bool(last.strip("*?")) and matcher(f"*{last}*")(name.rpartition(".")[2])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done to one layer, and why. `params` counts its weights; `tied_to` names the layer that stores them."""

    name: str
    kind: str
    params: int
    scheme: Scheme | None
    why: str
    tied_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Ordered rules and, once it has met a model, the decision for every layer of it."""

    rules: tuple[Rule, ...]
    on_misfit: OnMisfit = "error"
    decisions: tuple[Decision, ...] = ()
    total_params: int = 0
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        misfit_named(self.on_misfit)

    @classmethod
    def of(cls, plan: "PlanLike", *, skip: Iterable[str] = (), on_misfit: OnMisfit = "error") -> "Plan":
        """A plan from a scheme, a mapping of patterns to schemes, or a plan; layers that match `skip` are kept."""
        if isinstance(plan, Plan):
            rules: tuple[Rule, ...] = plan.rules
            on_misfit = plan.on_misfit if on_misfit == "error" else on_misfit
        elif isinstance(plan, str):
            rules = (Rule(match="*", scheme=parse_target(plan)),)
        elif isinstance(plan, Scheme):
            rules = (Rule(match="*", scheme=plan),)
        else:
            rules = tuple(Rule(match=m, scheme=parse_target(s) if isinstance(s, str) else s) for m, s in plan.items())
        return cls(rules=(*(Rule(match=s, scheme=None) for s in skip), *rules), on_misfit=on_misfit)

    def rule_for(self, name: str, *, kept_by_default: bool = False) -> Rule | None:
        """The first rule that reaches the layer."""
        reaches = Rule.names if kept_by_default else Rule.matches
        return next((rule for rule in self.rules if reaches(rule, name)), None)

    @cached_property
    def quantized_params(self) -> int:
        return sum(d.params for d in self.decisions if d.scheme is not None and d.tied_to is None)

    @property
    def coverage(self) -> float:
        """Share of the model's parameters that are quantized, 0..1."""
        return self.quantized_params / self.total_params if self.total_params else 0.0

    def __str__(self) -> str:
        """The one scheme of a uniform plan, or its rules."""
        if len(self.rules) == 1 and self.rules[0].match == "*":
            return str(self.rules[0].scheme or KEEP)
        return " ".join(str(rule) for rule in self.rules)


PlanLike = str | Scheme | Plan | Mapping[str, "str | Scheme | None"]

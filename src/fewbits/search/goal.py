"""What is wanted: limits, and one measure that is made as small, or as large, as they allow."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewbits.errors import FewbitsError
from fewbits.search.limits import COSTS, EXAMPLES, SENSE, SHARES, SPEEDS, Limit

ADDED = (*COSTS, *SPEEDS)  # measures that add up over layers, so that a plan is found exactly


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`target` is the measure to be made best."""

    limits: tuple[Limit, ...]
    target: str

    @classmethod
    def of(cls, limits: Sequence[Limit], minimize: str | None = None, maximize: str | None = None) -> "Goal":
        """By default, quality is made best where only costs are limited, else the size least.

        Raises FewbitsError for no limits, both directions at once, a measure made worse, or a measure that nothing holds back.
        """
        if not limits:
            raise FewbitsError(f"no limits: give at least one --limit, such as {EXAMPLES}")
        if minimize and maximize:
            raise FewbitsError("one measure is minimized or maximized, not both")
        _check_limits(limits)
        held = [limit for limit in limits if limit.measure in ADDED]
        target = minimize or maximize or ("kl" if len(held) == len(limits) else "size")
        _check_target(target, minimize, maximize)
        if target not in ADDED and not held:
            raise FewbitsError(f"the best {target} is the original's: limit what it may cost, such as --limit 'size<=16MiB'")
        if target in ADDED and len(held) == len(limits):
            raise FewbitsError(
                f"the best {target} is that of the coarsest plan: limit what it may lose, such as --limit 'kl<=0.05'"
            )
        return cls(limits=tuple(limits), target=target)

    @property
    def is_added(self) -> bool:
        """Whether the target is a cost, which adds up over layers."""
        return self.target in ADDED

    @property
    def costs(self) -> tuple[Limit, ...]:
        """The limits on what adds up over layers."""
        return tuple(limit for limit in self.limits if limit.measure in ADDED)

    @property
    def speeds(self) -> tuple[str, ...]:
        """The speeds that limits or the target name."""
        named = dict.fromkeys([limit.measure for limit in self.limits] + [self.target])
        return tuple(name for name in named if name in SPEEDS)


def _check_limits(limits: Sequence[Limit]) -> None:
    """Raise FewbitsError for a limit out of reach, and for two of one kind on one measure: the looser would mean nothing."""
    seen: dict[tuple[str, str], Limit] = {}
    for limit in limits:
        first = seen.setdefault((limit.measure, limit.base), limit)
        if limit.measure in SHARES and limit.base == "absolute" and limit.value > 1:
            raise FewbitsError(f"limit '{limit}': no plan keeps it: {limit.measure} is at most 100%")
        if first is not limit:
            raise FewbitsError(f"two limits on {limit.measure}: '{first}' and '{limit}': keep the tighter one")


def _check_target(target: str, minimize: str | None, maximize: str | None) -> None:
    if target not in SENSE:
        raise FewbitsError(f"cannot tune for '{target}': one of {', '.join(SENSE)}")
    less = SENSE[target] == "<="
    if (minimize and not less) or (maximize and less):
        raise FewbitsError(f"{target} is {'minimised' if less else 'maximised'}, not the other way round")

"""What is wanted: limits, and one measure that is made as small, or as large, as they allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from fewbits.errors import FewbitsError
from fewbits.search.candidates import Space
from fewbits.search.limits import COSTS, SENSE, Limit


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`target` is the measure to be made best. `overhead` are bytes of memory beside the weights, such as a KV cache."""

    limits: tuple[Limit, ...]
    target: str
    overhead: int = 0

    @classmethod
    def of(cls, limits: Sequence[Limit], minimize: str | None = None, maximize: str | None = None, overhead: int = 0) -> "Goal":
        """By default, quality is made best where only sizes are limited, else the size least.

        Raises FewbitsError for no limits, both directions at once, or a measure made worse.
        """
        if not limits:
            raise FewbitsError("no limits: give at least one, such as --limit 'size<=16MiB' or --limit 'ppl<=+2%'")
        if minimize and maximize:
            raise FewbitsError("one measure is minimised or maximised, not both")
        target = minimize or maximize or ("kl" if all(limit.is_cost for limit in limits) else "size")
        if target not in SENSE:
            raise FewbitsError(f"cannot tune for '{target}': one of {', '.join(SENSE)}")
        if (SENSE[target] == "<=") != (maximize is None) and (minimize or maximize):
            raise FewbitsError(f"{target} is {'minimised' if SENSE[target] == '<=' else 'maximised'}, not the other way round")
        if target not in COSTS and not any(limit.is_cost for limit in limits):
            raise FewbitsError(f"the best {target} is the original's: limit what it may cost, such as --limit 'size<=16MiB'")
        return cls(limits=tuple(limits), target=target, overhead=overhead)

    @property
    def is_size(self) -> bool:
        return self.target in COSTS

    def most_bytes(self, space: Space) -> float:
        """The most bytes that a whole model may take under all limits on cost."""
        kept = space.nbytes(space.kept())
        most = [inf]
        for limit in self.limits:
            if limit.measure == "size":
                most.append(limit.bound(kept))
            elif limit.measure == "memory":
                most.append(limit.bound(kept + self.overhead) - self.overhead)
            elif limit.measure == "bits":
                most.append(space.fixed + limit.value * space.params / 8)
        return min(min(most), kept)

    def costs_of(self, space: Space, choice: Sequence[int]) -> dict[str, float]:
        """Every cost of a plan, by its measure's name."""
        nbytes = space.nbytes(choice)
        return {"size": nbytes, "memory": nbytes + self.overhead, "bits": space.bits(choice)}

"""Plans from predicted losses: the best within limits on costs, and a ladder of plans from the cheapest to the finest."""

from collections.abc import Sequence

from fewbits.search.frontier import Side, Table, frontier, solve

RUNGS = 24  # of a ladder that is held by further limits, where the hull alone does not tell
Choice = tuple[int, ...]


def best_within(loss: Table, sides: Sequence[Side]) -> Choice | None:
    """The plan of least predicted loss under limits on costs; None where no plan keeps them."""
    return solve(loss, sides)


def ladder(loss: Table, target: Table, sides: Sequence[Side]) -> list[Choice]:
    """Plans of rising target cost and falling predicted loss that keep the sides; empty where none does.

    Without sides the hull; with them one exact plan for each of `RUNGS` costs, evenly spread.
    """
    if not sides:
        return [point.choice for point in frontier(loss, target).points]
    least, most = solve(target, sides), solve(loss, sides)
    if least is None or most is None:
        return []
    low, high = (added(target, choice) for choice in (least, most))
    found: dict[Choice, None] = {}
    for rung in range(RUNGS):
        cost = low + (high - low) * rung / (RUNGS - 1)
        choice = solve(loss, [*sides, Side(cost=target, most=cost * (1 + 1e-9))])
        if choice is not None:
            found[choice] = None
    return list(found)


def added(table: Table, choice: Sequence[int]) -> float:
    """The sum over a plan's parts."""
    return sum(row[c] for row, c in zip(table, choice, strict=True))

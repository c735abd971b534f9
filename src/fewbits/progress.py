"""Progress bars for long work: on a terminal only, on standard error."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], label: str, *, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Go through the items with a bar; nothing is printed where standard error is not a terminal."""
    from tqdm import tqdm  # here, so that importing fewbits stays light

    return iter(tqdm(items, desc=label, total=total, unit=unit, disable=None, leave=False, dynamic_ncols=True))

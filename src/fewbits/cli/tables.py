"""How figures look in a terminal: one table, units in the heads, colours only on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

MIB = 1024**2


def console(*, stderr: bool = False) -> Console:
    """Standard output (or error); plain text, as wide as it needs, when it is not a terminal."""
    out = Console(highlight=False, stderr=stderr)
    return out if out.is_terminal else Console(highlight=False, width=200, color_system=None, stderr=stderr)


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """First column to the left, the figures to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, head in enumerate(heads):
        made.add_column(head, justify="left" if at == 0 else "right", overflow="fold", no_wrap=at > 0)
    for row in rows:
        made.add_row(*row)
    return made


def mib(count: int | float) -> str:
    """Bytes as MiB, with enough digits to tell two plans apart."""
    return f"{count / MIB:,.3f}"


def percent(share: int | float) -> str:
    """A share as a percentage."""
    return f"{100 * share:.1f} %"

"""How figures look in a terminal: one table, units in the heads, colours only on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fewbits.errors import printable

MIB = 1024**2
LONGEST = 2_000  # characters of one text


def console(*, stderr: bool = False) -> Console:
    """Standard output (or error); plain text, as wide as it needs, when it is not a terminal."""
    out = Console(highlight=False, stderr=stderr)
    return out if out.is_terminal else Console(highlight=False, width=200, color_system=None, stderr=stderr)


def inert(text: object) -> str:
    """A name or message for `Console.print`: no markup is read in it, and control characters are escaped."""
    return escape(printable(str(text), LONGEST))


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """First column to the left, the figures to the right. No markup is read in the texts."""
    made = Table(
        title=_text(title) if title else None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for at, head in enumerate(heads):
        made.add_column(_text(head), justify="left" if at == 0 else "right", overflow="fold", no_wrap=at > 0)
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def _text(text: str) -> Text:
    return Text(printable(text, LONGEST))


def mib(count: int | float) -> str:
    """Bytes as MiB, with enough digits to tell two plans apart."""
    return f"{count / MIB:,.3f}"


def percent(share: int | float) -> str:
    """A share as a percentage."""
    return f"{100 * share:.1f} %"

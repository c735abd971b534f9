"""How charts look: sizes in pixels, few lines, colours that the page's style replaces by its own.

The palette is Okabe and Ito's (2008), which colour-blind people can tell apart, darkened where it is too light for paper.
matplotlib draws with the light colours; `svg` turns each into the CSS variable beside it, which the dark page sets anew.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

from fewbits.errors import FewbitsError
from fewbits.report.charts.svg import HALO, cleaned

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, DIM, LINE, GRID, CARD, GOOD, BAD = "#1b1f24", "#5b6572", "#e2e4e8", "#eceef1", "#ffffff", "#0a7a4f", "#b3261e"
SERIES = (
    "#0072b2",
    "#c8500a",
    "#008763",
    "#a8518a",
    "#a87500",
    "#2f93cf",
    "#6a5fc1",
    "#6b7280",
    "#9c2c2c",
    "#4d7c0f",
    "#0f766e",
    "#7c3aed",
)
MARKERS = ("o", "s", "^", "D", "v", "<", ">")  # seven of them, so that the next round of colours differs by its shapes
VARIABLES = {INK: "ink", DIM: "dim", LINE: "line", GRID: "grid", CARD: "card", GOOD: "good", BAD: "bad"} | {
    colour: f"c{at}" for at, colour in enumerate(SERIES)
}
WIDE, NARROW = 1000, 344  # pixels: of a card in a window of 1280, and of 400


@dataclass(kw_only=True)
class Sheet:
    """One drawing under way: the canvas, whether it is the narrow one, and what is told where one points."""

    canvas: "Canvas"
    narrow: bool
    tips: dict[str, str] = field(default_factory=dict)
    halos: int = 0

    def tell(self, artist: "Artist", tip: str) -> None:
        """Show `tip` when one points at an artist."""
        name = f"tip{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = tip

    def outline(self, text: "Artist") -> None:
        """Keep a text readable on lines that it crosses: its letters get an edge of the card's colour."""
        self.halos += 1
        text.set_gid(f"{HALO}{self.halos}")

    def axes(self, rows: int = 1, columns: int = 1, **how: Any) -> "list[Axes]":
        """Axes in rows and columns, in reading order."""
        return list(self.canvas.subplots(rows, columns, squeeze=False, **how).flat)


def drawn(title: str, paint: Callable[[Sheet], None], *, wide: int, narrow: int) -> tuple[str, str]:
    """The SVG of a chart for wide and for narrow windows; `wide` and `narrow` are their heights in pixels."""
    return _draw(title, paint, (WIDE, wide), False), _draw(title, paint, (NARROW, narrow), True)


def _draw(title: str, paint: Callable[[Sheet], None], size: tuple[int, int], narrow: bool) -> str:
    salt = f"{title} {narrow}"
    with _style(salt, narrow):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout="constrained")
        sheet = Sheet(canvas=canvas, narrow=narrow)
        paint(sheet)
        text = StringIO()
        canvas.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return cleaned(text.getvalue(), title=title, tips=sheet.tips, colours=VARIABLES)


@contextmanager
def _style(salt: str, narrow: bool) -> Iterator[None]:
    """Matplotlib's settings, given back afterwards. One pixel is one of its points."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise FewbitsError("charts are drawn by matplotlib, which is not installed: pip install 'fewbits[report]'") from None
    size = 11.5 if narrow else 13
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "path.simplify": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # matplotlib's own, wider than what browsers show: nothing then overlaps
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelcolor": DIM,
        "axes.edgecolor": LINE,
        "axes.linewidth": 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.formatter.use_mathtext": False,
        "text.parse_math": False,  # a name with two dollar signs is a name
        "grid.color": GRID,
        "grid.linewidth": 1,
        "text.color": INK,
        "xtick.color": LINE,
        "ytick.color": LINE,
        "xtick.labelcolor": DIM,
        "ytick.labelcolor": DIM,
        "xtick.labelsize": size - 1,
        "ytick.labelsize": size - 1,
        "legend.frameon": False,
        "legend.fontsize": size,
        "lines.linewidth": 1.8,
        "lines.markersize": 7,
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type] - its keys are a type of their own
        yield


def colours(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, in the order of their first coming."""
    order = list(dict.fromkeys(names))
    return {name: (SERIES[at % len(SERIES)], MARKERS[at % len(MARKERS)]) for at, name in enumerate(order)}

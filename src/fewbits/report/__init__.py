"""Reports: a page is sections of text, tables and charts; it is written as one HTML file that needs no network, or as Markdown.

    from fewbits.report import Column, Line, Page, Section, Table, number, write_page
    from fewbits.report.charts import Dot, Scale, scatter

    dots = [Dot(x=5.1, y=0.029, series="hqq", label="4 bits", low=0.028, high=0.030), ...]
    chart = scatter(
        "Loss against size", dots, x=Scale(label="size, MiB"), y=Scale(label="KL divergence, nats", log=True),
        sentence="4 bits lose 0.029 nats at 5.1 MiB, ..."       # what to see, made from the figures
    )
    table = Table(
        columns=(Column(head="plan"), Column(head="perplexity", best="low")),     # the best of a column is marked
        rows=(
            Line(cells=("as it is", number(32.29, 2, se=0.31)), kind="original"),   # 32.29 ± 0.31; not in the contest
            Line(cells=("hqq:uint4g64", number(33.22, 2, se=0.32))),
            Line(cells=("nf4g64",), kind="failed", reason="groups of 64 do not divide ..."),
        ),
    )
    page = Page(title="Study", lede="What it is.", sections=(Section(title="Plans", parts=("A text.", chart, table)),))
    write_page(page, Path("report.html"))          # or `to_markdown(page)`

A chart is drawn by matplotlib twice, for wide and narrow windows; its colours are the page's (light and dark); pointing at a
mark tells its figures, and `Figure.data` is the same as a table, for those who cannot see it. The kinds of chart, one file each:
`scatter`, `lines`, `bars`, `stacks`, `panels` (small multiples of bars or lines: layers by block and kind), `spreads`
(distributions by layer), `histograms`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewbits.report.cells import number as number
    from fewbits.report.html import to_html as to_html
    from fewbits.report.html import write_page as write_page
    from fewbits.report.markdown import to_markdown as to_markdown
    from fewbits.report.page import Cell as Cell
    from fewbits.report.page import Code as Code
    from fewbits.report.page import Column as Column
    from fewbits.report.page import Facts as Facts
    from fewbits.report.page import Figure as Figure
    from fewbits.report.page import Line as Line
    from fewbits.report.page import Page as Page
    from fewbits.report.page import Section as Section
    from fewbits.report.page import Table as Table
    from fewbits.report.page import Tile as Tile

_PUBLIC = {
    **dict.fromkeys(("Cell", "Code", "Column", "Facts", "Figure", "Line", "Page", "Section", "Table", "Tile"), "page"),
    "number": "cells",
    "to_html": "html",
    "to_markdown": "markdown",
    "write_page": "html",
}

__all__ = [
    "Cell",
    "Code",
    "Column",
    "Facts",
    "Figure",
    "Line",
    "Page",
    "Section",
    "Table",
    "Tile",
    "number",
    "to_html",
    "to_markdown",
    "write_page",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first needed."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewbits.report' has no attribute '{name}'")
    return getattr(import_module(f"fewbits.report.{_PUBLIC[name]}"), name)

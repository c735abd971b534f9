"""A page as one HTML file: no network, no scripts; light and dark, wide, narrow and printed."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewbits.report.files import write_text
from fewbits.report.page import Code, Facts, Figure, Page, Part, Table, cell_of
from fewbits.report.text import anchor, spans

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(page: Page, path: Path) -> None:
    """Write a page, whole or not at all. Raises FewbitsError where it cannot be written."""
    write_text(to_html(page), path)


def to_html(page: Page) -> str:
    """The page as HTML, its style inside."""
    style = resources.files("fewbits.report").joinpath("style.css").read_text(encoding="utf-8")
    return _environment().get_template("page.html").render(page=page, style=style)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("fewbits.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"spans": spans, "anchor": anchor, "kind": _kind, "cell": cell_of}
    return made


def _kind(part: Part) -> str:
    """Which part of the template shows it."""
    kinds: dict[type[Any], str] = {str: "text", Table: "table", Figure: "figure", Code: "code", Facts: "facts"}
    return kinds[type(part)]

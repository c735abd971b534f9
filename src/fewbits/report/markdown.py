"""A page as Markdown, to paste into a report: every table, and the sentence of every chart.

Names and messages in it come from users and files. They show as they are: no HTML, links or emphasis is made of them.
"""

import re

from fewbits.errors import printable
from fewbits.report.page import Cell, Code, Figure, Line, Page, Part, Table, cell_of
from fewbits.report.text import spans

_LONGEST = 20_000  # characters of one text
_SPECIAL = re.compile(r"[\\*\[\]|]|~~|(?<!\w)_|_(?!\w)")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # a bare "<=" is no HTML
_START = re.compile(r"(#{1,6}|[-+=]+|\d+[.)])(?=\s|$)")  # of a paragraph: a heading, a list, a rule


def to_markdown(page: Page) -> str:
    """Headings, texts, tables with the best values in bold. Charts are in the HTML; here they are their sentences."""
    tiles = "\n".join(f"- {_escaped(_tile(t.label, t.value, t.note))}" for t in page.tiles)
    parts = [f"# {_escaped(page.title)}", _paragraph(page.lede), tiles]
    for section in page.sections:
        parts += [f"## {_escaped(section.title)}", *(_part(part) for part in section.parts)]
    return "\n\n".join(part for part in [*parts, _paragraph(page.foot)] if part) + "\n"


def table_to_markdown(table: Table) -> str:
    """A table with pipes."""
    heads = [" ".join(part for part in (c.head, c.unit) if part) for c in table.columns]
    rule = ["---" if c.text or at == 0 else "---:" for at, c in enumerate(table.columns)]
    best = table.best()
    rows = [[_cell(cell_of(c), (r, at) in best) for at, c in enumerate(line.cells)] for r, line in enumerate(table.rows)]
    for cells, line in zip(rows, table.rows, strict=True):
        _finish(cells, line, len(heads))
    lines = ["| " + " | ".join(row) + " |" for row in (list(map(_escaped, heads)), rule, *rows)]
    above = f"**{_escaped(table.caption)}**\n\n" if table.caption else ""
    below = f"\n\n{_paragraph(table.note)}" if table.note else ""
    return above + "\n".join(lines) + below


def _part(part: Part) -> str:
    if isinstance(part, str):
        return _paragraph(part)
    if isinstance(part, Table):
        return table_to_markdown(part)
    if isinstance(part, Figure):
        return f"**{_escaped(part.title)}.** {_escaped(part.sentence)}"
    if isinstance(part, Code):
        return "\n".join("    " + printable(line, _LONGEST) for line in part.text.split("\n"))
    return "\n".join(f"- {_escaped(name)}: {_escaped(value)}" for name, value in part.facts)


def _finish(cells: list[str], line: Line, width: int) -> None:
    """Name the kind of the row, give the reason of a failed one, and fill it up."""
    if line.kind in ("peer", "reported"):
        cells[0] += f" ({line.kind})"
    if line.reason:
        cells.append(_escaped(line.reason))
    cells += [""] * (width - len(cells))


def _cell(cell: Cell, best: bool) -> str:
    text = _escaped(" ".join(part for part in (cell.text, cell.note) if part))
    return f"**{text}**" if best else text


def _tile(label: str, value: str, note: str) -> str:
    return f"{label}: {value}" + (f" ({note})" if note else "")


def _paragraph(text: str) -> str:
    """A text that begins a line."""
    return _START.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", _escaped(text), count=1) if text else ""


def _escaped(text: str) -> str:
    """A text on one line, in which only what is between `backquotes` is markup."""
    flat = printable(" ".join(text.split()), _LONGEST)
    pieces = []
    for code, piece in spans(flat):
        if code:
            pieces.append("`" + piece.replace("|", "\\|") + "`")
        else:
            plain = _TAG.sub("&lt;", _ENTITY.sub("&amp;", piece))
            pieces.append(_SPECIAL.sub(lambda found: f"\\{found[0]}", plain))
    return "".join(pieces)

"""A page as Markdown, to paste into a report: every table, and the sentence of every chart."""

from fewbits.report.page import Cell, Code, Figure, Line, Page, Part, Table, cell_of


def to_markdown(page: Page) -> str:
    """Headings, texts, tables with the best values in bold. Charts are in the HTML; here they are their sentences."""
    parts = [f"# {page.title}", page.lede, "\n".join(f"- {_tile(t.label, t.value, t.note)}" for t in page.tiles)]
    for section in page.sections:
        parts += [f"## {section.title}", *(_part(part) for part in section.parts)]
    return "\n\n".join(part for part in [*parts, page.foot] if part) + "\n"


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
    below = f"\n\n{table.note}" if table.note else ""
    return above + "\n".join(lines) + below


def _part(part: Part) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Table):
        return table_to_markdown(part)
    if isinstance(part, Figure):
        return f"**{part.title}.** {part.sentence}"
    if isinstance(part, Code):
        return "\n".join("    " + line for line in part.text.splitlines())
    return "\n".join(f"- {name}: {value}" for name, value in part.facts)


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


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.report import Cell, Code, Column, Facts, Line, Page, Section, Table, Tile, number, to_html, to_markdown, write_page

COLUMNS = (Column(head="plan"), Column(head="size", unit="MiB", best="low"), Column(head="accuracy", best="high"))


def table(*rows: Line) -> Table:
    return Table(columns=COLUMNS, rows=rows, caption="Plans")


def line(name: str, size: float, accuracy: float, **more: str) -> Line:
    return Line(cells=(name, number(size, 1), number(accuracy, 2, se=0.3)), **more)  # type: ignore[arg-type]


def page(*parts: object) -> Page:
    section = Section(title="Plans", parts=parts)  # type: ignore[arg-type]
    return Page(title="A <study> & more", lede="Of `demo`.", tiles=(Tile(label="size", value="4"),), sections=(section,))


class Tags(HTMLParser):
    """Open and closing tags, checked for balance."""

    VOID = frozenset({"meta", "link", "br", "path", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_best_is_marked_among_those_that_contend() -> None:
    made = table(
        line("original", 1.0, 0.99, kind="original"),
        line("a", 4.0, 0.80),
        line("b", 4.0, 0.90),
        line("c", 8.0, 0.70, kind="peer"),
        line("d", 0.1, 1.00, kind="reported"),
    )
    assert made.best() == {(1, 1), (2, 1), (2, 2)}


def test_one_row_alone_has_no_best() -> None:
    assert table(line("a", 4.0, 0.8)).best() == frozenset()


def test_rows_are_as_wide_as_the_table() -> None:
    with pytest.raises(FewbitsError, match="3 columns has a row of 1"):
        table(Line(cells=("a",)))
    assert table(Line(cells=("a",), kind="failed", reason="no memory")).best() == frozenset()


def test_html_is_whole_and_escaped() -> None:
    failed = Line(cells=("<c>",), kind="failed", reason="groups of `48` & no")
    facts = Facts(facts=(("machine", "a & b"),))
    text = to_html(page("A `code` & text", table(line("a", 1, 2), line("b", 2, 1), failed), facts, Code(text="a < b")))
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert "<h1>A &lt;study&gt; &amp; more</h1>" in text and "A <code>code</code> &amp; text" in text
    assert "&lt;c&gt;" in text and "groups of <code>48</code> &amp; no" in text and 'colspan="2"' in text
    assert text.count("(best)") == 2 and "± 0.30" in text


def test_html_needs_no_network_and_no_script() -> None:
    text = to_html(page("x"))
    assert not re.search(r"<script|<link|@import|src=|url\((?!#)", text)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text and 'name="viewport"' in text


def test_html_is_accessible() -> None:
    tags = Tags()
    tags.feed(to_html(page(table(line("a", 1, 2), line("b", 2, 1)))))
    scopes = [attributes.get("scope") for tag, attributes in tags.seen if tag == "th"]
    assert scopes == ["col"] * 3 + ["row"] * 2
    names = [tag for tag, _ in tags.seen]
    assert names.count("h1") == 1 and names.count("main") == 1 and ("html", {"lang": "en"}) in tags.seen
    assert any(a.get("role") == "region" and a.get("aria-label") == "Plans" for _, a in tags.seen)


def test_markdown() -> None:
    failed = Line(cells=("c",), kind="failed", reason="a | b")
    text = to_markdown(page("Text.", table(line("a|b", 1, 2), line("b", 2, 1, kind="peer"), failed), Code(text="one\ntwo")))
    lines = text.splitlines()
    assert lines[0] == "# A &lt;study> & more" and "- size: 4" in lines and "    two" in lines
    assert "| plan | size MiB | accuracy |" in lines and "| --- | ---: | ---: |" in lines
    assert "| a\\|b | **1.0** | **2.00 ± 0.30** |" in lines
    assert "| b (peer) | 2.0 | 1.00 ± 0.30 |" in lines
    assert "| c | a \\| b |  |" in lines


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_page(page("x"), path)
    assert path.read_text().startswith("<!doctype html>") and [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FewbitsError, match="cannot be written"):
        write_page(page("x"), tmp_path / "file" / "report.html")


def test_a_cell_without_a_value() -> None:
    assert number(None).text == "\u2013" and Cell(text="x").value is None

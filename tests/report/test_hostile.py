"""Names, messages and figures that try to be something else: a page shows them, and nothing in it runs."""

import csv
import json
import re
from dataclasses import replace
from io import StringIO
from math import inf, nan
from pathlib import Path

import pytest

from fewbits.csvtext import csv_text
from fewbits.report import study
from fewbits.report.markdown import to_markdown
from fewbits.report.page import Cell, Code, Column, Facts, Line, Page, Section, Table, Tile
from fewbits.study import saved
from fewbits.study.results import Reported, Score, StudyResults
from tests.report import made

NASTY = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "a\x1b[31mred\x00",
    "a\u202eb\u200bc",
    "$\\frac{1}{2$ $x$",
    "a | b ` c * d _e_ [f](javascript:alert(1)) ![g](http://h)",
    "line\nbreak\r\n# heading\n- item",
    "&lt;b&gt; &amp;#60;",
    "{{ 7*7 }} {% raw %}",
    "\ud800 lone",
    "'\";--",
)


def hostile(texts: tuple[str, ...]) -> StudyResults:
    """A study in which every text that a user or a library chooses is nasty."""
    results, text = made.results(), "\n".join(texts)
    rows = [replace(row, model=texts[0], notes=texts, error=row.error and text) for row in results.rows]
    rows += [replace(rows[1], label=f"{each} {at}", series=each, scheme=each, peer=each) for at, each in enumerate(texts)]
    told = [(Reported(measure="ppl", value=1, unit="", where=each),) for each in texts]
    rows += [replace(rows[2], label=f"{each} plan {at}", reported=told[at]) for at, each in enumerate(texts)]
    alone = tuple(replace(one, model=texts[0], protocol=text, data=text) for one in results.sensitivities)
    named = {"title": text, "about": text, "reported": text, "file": text, "text": text, "command": text}
    scores = tuple(Score(name=each, expression=each) for each in texts)
    return replace(results, rows=tuple(rows), data=texts, sensitivities=alone, scores=scores, **named)


@pytest.mark.parametrize("texts", [NASTY, *(pytest.param((text,), marks=pytest.mark.slow) for text in NASTY)])
def test_a_study_of_nasty_names(texts: tuple[str, ...], tmp_path: Path) -> None:
    saved.save(hostile(texts), tmp_path)
    json.loads((tmp_path / "results.json").read_bytes(), parse_constant=lambda name: pytest.fail(name))
    study.write(saved.load(tmp_path), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html and "<img" not in html and not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", html)
    assert_inert((tmp_path / "report.md").read_text(encoding="utf-8"))
    assert_no_formula((tmp_path / "results.csv").read_text(encoding="utf-8"))


def odd(**values: float) -> StudyResults:
    """A study in which some figures of all rows but one are odd."""
    results = made.results()
    rows = [
        replace(
            row,
            measures={
                k: replace(m, value=values.get(k, m.value), se=values.get(k)) if at != 1 else m for k, m in row.measures.items()
            },
            beside={k: replace(m, value=values.get(k, m.value)) for k, m in row.beside.items()},
        )
        for at, row in enumerate(results.rows)
    ]
    return replace(results, rows=tuple(rows))


FEW = [{"ppl": nan, "kl": inf, "decode_speed": -inf}, {"ppl": 1e308, "kl": -1.0, "decode_speed": 5e-324, "size": 0.0}]
MANY = [{name: value} for name in ("ppl", "kl", "size", "decode_speed") for value in (nan, inf, -inf, 0.0, -1.0, 1e308, 5e-324)]


@pytest.mark.parametrize("values", [*FEW, *(pytest.param(each, marks=pytest.mark.slow) for each in MANY)])
def test_a_study_of_odd_figures(values: dict[str, float], tmp_path: Path) -> None:
    saved.save(odd(**values), tmp_path)
    json.loads((tmp_path / "results.json").read_bytes(), parse_constant=lambda name: pytest.fail(name))
    found = saved.load(tmp_path)
    assert repr(found.rows[0].measures) == repr(odd(**values).rows[0].measures)
    study.write(found, tmp_path)


@pytest.mark.parametrize("text", NASTY)
def test_markdown_of_nasty_texts(text: str) -> None:
    table = Table(
        columns=(Column(head=text, unit=text),),
        rows=(Line(cells=(Cell(text=text, note=text),)), Line(cells=(), reason=text)),
        caption=text,
        note=text,
    )
    page = Page(
        title=text, lede=text, foot=text, tiles=(Tile(label=text, value=text, note=text),),
        sections=(Section(title=text, parts=(text, table, Code(text=text), Facts(facts=((text, text),)))),),
    )  # fmt: skip
    assert_inert(to_markdown(page))


def assert_inert(markdown: str) -> None:
    """No HTML, link or image, and every row of a table has one width."""
    outside = [re.sub(r"`[^`]*`", "", line) for line in markdown.split("\n") if not line.startswith("    ")]
    assert not [line for line in outside if "<" in line or re.search(r"(?<!\\)\[", line)]
    assert not [line for line in markdown.split("\n") if not line.isprintable()]
    width = 0
    for line in markdown.split("\n"):
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not width or not cells or cells == width, line
        width = cells


def assert_no_formula(text: str) -> None:
    for row in csv.reader(StringIO(text)):
        for cell in row:
            if cell.strip()[:1] in set("=+-@"):
                float(cell)


def test_formulas_become_texts_and_numbers_stay() -> None:
    nasty = ["=1+1", "+1", "-1", "@a", " =1", "\t=1", "\r=1", "\u00a0=1", "\uff1d1"]
    rows = list(csv.reader(StringIO(csv_text([nasty, [-1, -2.5, "a=b", "*attn*=rtn:int8", None, 3, nan, "", "a\nb"]]))))
    assert all(cell.startswith("'") for cell in rows[0])
    assert rows[1] == ["-1", "-2.5", "a=b", "*attn*=rtn:int8", "", "3", "nan", "", "a b"]

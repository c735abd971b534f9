import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from fewbits.report.charts import (
    Bar,
    Dot,
    Histogram,
    Mark,
    Scale,
    Spread,
    Stack,
    bars,
    histograms,
    lines,
    panels,
    scatter,
    spreads,
    stacks,
)
from fewbits.report.charts._axes import log_ticks, tick_text
from fewbits.report.charts._labels import Box
from fewbits.report.charts._scatter import frontier
from fewbits.report.charts.theme import VARIABLES, colours
from fewbits.report.page import Figure

X, Y = Scale(label="size, MiB"), Scale(label="loss & more", log=True)
DOTS = [
    Dot(x=1, y=0.9, series="hqq", label="2 bits", low=0.8, high=1.0),
    Dot(x=2, y=0.1, series="hqq", label="4 bits"),
    Dot(x=2, y=0.2, series="rtn", label="4 bits"),
    Dot(x=3, y=0.15, series="peer", label="nf4", hollow=True),
]
BY_BLOCK = [(kind, Dot(x=block, y=0.1 + block)) for kind in ("q_proj", "up_proj") for block in range(3)]
CHARTS: dict[str, Callable[[], Figure]] = {
    "scatter": lambda: scatter("Loss", DOTS, x=X, y=Y, sentence="See.", mark=Mark(value=0.05, label="original")),
    "lines": lambda: lines("Bits", DOTS, x=X, y=Y, sentence="See."),
    "bars": lambda: bars("Time", [Bar(label="a", value=3, low=2, high=4), Bar(label="b", value=1)], x=X, sentence="See."),
    "stacks": lambda: stacks("Bytes", [Stack(label="a", parts={"uint4": 1, "f16": 2})], x=X, sentence="See."),
    "panels": lambda: panels("Layers", BY_BLOCK, x=Scale(label="block"), y=Scale(label="loss"), sentence="See."),
    "spreads": lambda: spreads(
        "Weights",
        [Spread(panel="q", x=0, quantiles=(-3, -2, -1, 0, 1, 2, 3), grid=(-1, 1))],
        x=Scale(label="block"),
        y=Scale(label="weight"),
        sentence="See.",
    ),
    "histograms": lambda: histograms(
        "Weights", [Histogram(title="q", edges=(0, 1, 2), counts=(3, 4), grid=(0.5,))], x=X, sentence="See."
    ),
}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {name: make() for name, make in CHARTS.items()}


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert figure.data is not None and len(figure.data.rows) > 0
    for drawing in (figure.wide, figure.narrow):
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img" and root.get("aria-label") == figure.title
        assert "width" not in root.attrib and root.get("viewBox")  # as wide as its place
        assert not re.search(r"#[0-9a-f]{6}\b", drawing), "a colour that a dark page could not change"
        assert "<text" in drawing and "DejaVu" not in drawing and "font-family" not in drawing
        titles = [e for e in root.iter() if e.tag.endswith("}title")]
        assert titles and all(t.text for t in titles)
    assert figure.wide != figure.narrow


def test_ids_are_unique_on_a_page_and_refer_to_something(figures: dict[str, Figure]) -> None:
    text = "".join(figure.wide + figure.narrow for figure in figures.values())
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_a_chart_is_drawn_the_same_again(figures: dict[str, Figure]) -> None:
    assert CHARTS["scatter"]() == figures["scatter"]


def test_tooltips_tell_the_figures(figures: dict[str, Figure]) -> None:
    assert "hqq · 4 bits\nsize, MiB: 2.00\nloss &amp; more: 0.100" in figures["scatter"].wide
    assert "a\nuint4: 1.00\nall: 3.00" in figures["stacks"].wide
    assert "q_proj, block 2\nloss: 2.10" in figures["panels"].wide


def test_settings_of_matplotlib_are_given_back() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    CHARTS["bars"]()
    assert dict(mpl.rcParams) == before


def test_frontier() -> None:
    assert [(d.x, d.y) for d in frontier(DOTS)] == [(1, 0.9), (2, 0.1)]
    assert [(d.x, d.y) for d in frontier(DOTS, "high")] == [(1, 0.9)]


def test_colours_tell_many_series_apart() -> None:
    looks = colours([f"series {at}" for at in range(24)])
    assert len(set(looks.values())) == 24
    assert all(colour in VARIABLES for colour, _ in looks.values())


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1.0), (20.0, 62.0), (3.0, 300.0), (0.9, 1.1), (1e-9, 1e9)])
def test_a_few_round_ticks(low: float, high: float) -> None:
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low <= tick <= high for tick in found)


def test_ticks_are_written_as_one_says_them() -> None:
    assert [tick_text(v) for v in (0, 0.0001, 0.25, 12, 1500, 1e-5, 2e6)] == [
        "0", "0.0001", "0.25", "12", "1,500", "1e\u22125", "2e6",
    ]  # fmt: skip


def test_boxes() -> None:
    box = Box(0, 0, 10, 10)
    assert box.meets(Box(9, 9, 12, 12)) and not box.meets(Box(10, 0, 12, 10))
    assert Box(1, 1, 9, 9).within(box) and not Box(1, 1, 11, 9).within(box)

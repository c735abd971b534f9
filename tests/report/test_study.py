import csv
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from fewbits.errors import FewbitsError
from fewbits.plan import Plan
from fewbits.report import study
from fewbits.report.page import Figure, Page, Table
from fewbits.report.quantities import quantity
from fewbits.report.study.against_size import family, on_frontier
from fewbits.report.study.by_bits import named
from fewbits.report.study.compose import compose
from fewbits.report.study.costs import by_type
from fewbits.report.study.csvfile import to_csv
from fewbits.report.study.layers import quantiles
from fewbits.report.study.table import results_table
from fewbits.report.study.view import views
from fewbits.study.results import StudyResults
from tests.report.made import NAMES, results, row, rows, weights

PPL = quantity("ppl")


@pytest.fixture(scope="module")
def page() -> Page:
    return compose(results())


def sentence(page: Page, title: str) -> str:
    found = [p.sentence for s in page.sections for p in s.parts if isinstance(p, Figure) and p.title.startswith(title)]
    assert len(found) == 1, found
    return found[0]


def test_every_chart_is_there_and_says_what_to_see(page: Page) -> None:
    figures = [part for section in page.sections for part in section.parts if isinstance(part, Figure)]
    assert len(figures) == 9
    assert all(re.search(r"\d", figure.sentence) and figure.sentence.endswith(".") for figure in figures)


def test_against_size(page: Page) -> None:
    """Within 1 % of 20.0 lies 20.1, not 20.2; of five rows the peer, hqq's 4 and 8 bits are beaten by none."""
    said = sentence(page, "Perplexity against size")
    assert said == (
        "The smallest row within 1 % of the original's 20.0 is `hqq:uint8g64`: perplexity 20.1 at 10.0 MiB, 1.6 times smaller;"
        " 3 of 5 rows are beaten by none, 1 of them made by other libraries."
    )
    assert "`hqq:uint8g64` has KL divergence 0.0201 nats at 10.0 MiB" in sentence(page, "KL divergence against size")


def test_by_bits(page: Page) -> None:
    assert sentence(page, "Perplexity by bits") == (
        "At 4 bits perplexity lies between 21.0 (`hqq:uint, groups of 64`) and 22.0 (`rtn:uint, groups of 64`);"
        " at 8 bits every line is within 0.200 of the original's 20.0."
    )


def test_loss_of_layers(page: Page) -> None:
    """85 of 100 thousandths; the median of 1, 2, 3, 4, 5 and 85 is 3.5."""
    assert sentence(page, "Loss of each layer") == (
        f"`{NAMES[5]}` loses most, 0.0850 nats, 24.3 times the median layer; that one of 6 layers makes up 85 % of the sum."
    )


def test_error_of_layers(page: Page) -> None:
    """1 % at 8 bits and 16 % at 4: 2 a bit."""
    said = sentence(page, "Error of the weights")
    assert f"`hqq:uint8g64` errs by 1 % (`{NAMES[0]}`) to 1.5 % (`{NAMES[5]}`)" in said
    assert "each bit fewer multiplies the median layer's error by 2.00." in said


def test_weights_of_layers(page: Page) -> None:
    said = sentence(page, "Weights by layer")
    assert f"farthest weight of `{NAMES[0]}` is 10.0 standard deviations out" in said and "0.1 % of all weights" in said
    said = sentence(page, "Weights of 6 layers")
    assert f"`{NAMES[0]}` has the heaviest tails (kurtosis 9.0" in said and "1 of 6 layers are above 4" in said


def test_memory_and_time(page: Page) -> None:
    assert sentence(page, "Memory by type") == (
        "'bitsandbytes nf4' is the smallest, 5.00 MiB (31 % of the original): 50 % of it codes, 10 % of it scales and zero points,"
        " 40 % of it what is not quantized."
    )
    assert sentence(page, "Writes") == (
        "`hqq:uint4g64` is the fastest, 200 tokens/s, 2.00 times as fast as the original; 2 of 5 rows are slower than it;"
        " the middle row of other libraries is 0.50 times as fast."
    )


def test_the_table(page: Page) -> None:
    (table,) = (part for part in page.sections[0].parts if isinstance(part, Table))
    heads = [column.head for column in table.columns]
    assert heads == [
        "row",
        "bits a weight",
        "size",
        "perplexity",
        "perplexity reported",
        "KL divergence",
        "writes",
        "as fast",
        "score",
    ]
    assert [line.kind for line in table.rows] == ["original", "", "", "", "", "peer", "failed"]
    assert table.rows[-1].reason.startswith("hqq is not installed")
    assert {at for at in table.best() if at[1] == 3} == {(1, 3)}  # 20.1: the original's 20.0 does not contend
    assert "score = 37 - size_MiB" in table.note and "a paper" in table.note


def test_the_headline(page: Page) -> None:
    assert [(tile.label, tile.value) for tile in page.tiles] == [
        ("As it is", "16.0 MiB"),
        ("Smaller, within 1 %", "1.60 \u00d7"),
        ("As fast, at most", "2.00 \u00d7"),
        ("Rows measured", "6"),
    ]


def test_how_it_was_measured(page: Page) -> None:
    told = str(page.sections[-1])
    wanted = ("windows:512; n = 60,000", "a CPU", "bitsandbytes 0.50.2", "fewbits study studies/made.yaml", "title: made")
    assert all(part in told for part in wanted)


def test_csv() -> None:
    lines = list(csv.DictReader(StringIO(to_csv(results()))))
    assert [line["row"] for line in lines] == [row.label for row in rows()]
    assert lines[1]["size_B"] == str(10 * 1024**2) and float(lines[1]["ppl_se"]) == 0.5 and lines[1]["ppl_n"] == "60000"
    assert lines[0]["reported_ppl"] == "13.16" and lines[1]["reported_ppl"] == ""
    assert lines[-1]["error"] == "hqq is not installed: pip install hqq | now" and lines[-1]["size_B"] == ""
    assert lines[5]["made_by"] == "bitsandbytes 0.50.2"


def test_files(tmp_path: Path) -> None:
    paths = study.write(results(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md", "results.csv"]
    assert set(paths) == set(tmp_path.iterdir())
    text = (tmp_path / "report.html").read_text()
    assert "Bits &amp; &lt;quality&gt;" in text and len(text) < 3 * 1024**2
    assert "hqq is not installed" in (tmp_path / "report.md").read_text()


def test_nothing_was_measured_yet() -> None:
    empty = compose(StudyResults(title="empty", rows=(), missing=3))
    assert "3 items are still to run" in str(empty.sections[0].parts[0])
    failed = compose(results(rows=(rows()[-1],), sensitivities=(), weights=(), missing=1))
    assert not [part for section in failed.sections for part in section.parts if isinstance(part, Figure)]


def test_two_models_are_told_apart() -> None:
    other = tuple(replace(each, model="gpt2", layers=()) for each in rows())
    made = compose(results(rows=(*rows(), *other), sensitivities=(), weights=()))
    titles = [part.title for section in made.sections for part in section.parts if isinstance(part, Figure)]
    assert "Perplexity against size: llama" in titles and "Perplexity against size: gpt2" in titles
    assert len(set(titles)) == len(titles)


def test_no_row_keeps_the_quality() -> None:
    made = compose(results(rows=(rows()[0], row("a", 5, 40.0, 10), row("b", 4, 50.0, 10)), sensitivities=(), weights=()))
    assert sentence(made, "Perplexity against size").startswith("No row stays within 1 % of the original's perplexity, 20.0")


def test_a_perplexity_of_hundreds_of_thousands_is_drawn_on_a_logarithmic_axis() -> None:
    made = compose(results(rows=(*rows(), row("broken", 4, 215_830.672, 10)), sensitivities=(), weights=()))
    (figure,) = (p for s in made.sections for p in s.parts if isinstance(p, Figure) and p.title == "Perplexity against size")
    assert "1e5" in figure.wide


def test_frontier_and_families() -> None:
    view = views(results())[0]
    assert [r.label for r in on_frontier(view.made, PPL)] == ["bitsandbytes nf4", "hqq:uint4g64", "hqq:uint8g64"]
    assert [family(r) for r in view.made] == ["hqq", "hqq", "rtn", "rtn", "bitsandbytes"]
    plan = Plan.of({"lm_head": "rtn:int8", "*": "rtn:int8"})
    assert family(row("int8 everywhere", 5, 20, 1, plan=plan)) == "rtn"
    assert family(row("two", 5, 20, 1, plan=Plan.of({"*attn*": "rtn:int8", "*": "hqq:uint4g64"}))) == "mixed plans"


def test_more_types_than_colours_are_folded() -> None:
    size = rows()[0].measures["size"]
    many = {f"type{at}": 2**20 * (at + 1) for at in range(15)}
    one = replace(rows()[0], measures={"size": replace(size, parts={"by_dtype": many})})
    (parts,) = by_type([one])
    assert len(parts) == 12 and parts["other types"] == 1 + 2 + 3 + 4 and "type4" in parts


def test_names_of_lines() -> None:
    view = views(results())[0]
    named_series = [named(row("a", 5, 20, 1, series=series)) for series in ("hqq:uintg64", "nfg32/q8", "mine")]
    assert named_series == ["hqq:uint, groups of 64", "nf/q8, groups of 32", "mine"]
    assert named(view.made[-1]) == "bitsandbytes nf, library"


def test_a_measure_that_is_not_known_well_says_so() -> None:
    """A standard error of 5 of 20 is 25 %; one of 0.5 says nothing."""
    measures = dict(rows()[0].measures)
    measures["ppl"] = replace(measures["ppl"], se=5.0)
    made = compose(results(rows=(replace(rows()[0], measures=measures), *rows()[1:]), sensitivities=(), weights=()))
    assert sentence(made, "Perplexity against size").endswith(
        "the standard error, 25 % of the original's, hides small differences."
    )


def test_a_chance_gain_is_not_quality_kept() -> None:
    made = compose(results(rows=(rows()[0], row("a", 5, 15.0, 10), row("b", 6, 19.9, 10)), sensitivities=(), weights=()))
    assert "is `b`: perplexity 19.9" in sentence(made, "Perplexity against size")


def test_quantiles_are_read_from_counts() -> None:
    """500 of 1000 in each of two bins, -0.5 to 0 and 0 to 0.5."""
    assert quantiles(weights().layers[0]) == pytest.approx((-0.5, -0.49, -0.25, 0.0, 0.25, 0.49, 0.5))


def test_without_matplotlib_the_tables_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(FewbitsError, match=r"pip install 'fewbits\[report\]'"):
        study.write(results(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_notes_of_rows_are_told_once() -> None:
    noted = tuple(replace(each, notes=("dequantized at each use",)) for each in rows()[1:3])
    table = results_table(views(results(rows=noted))[0], results())
    assert table.note.endswith("hqq:uint8g64, hqq:uint4g64: dequantized at each use.")

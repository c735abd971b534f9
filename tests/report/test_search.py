import pytest

from fewbits.report.html import to_html
from fewbits.report.markdown import to_markdown
from fewbits.report.page import Figure
from fewbits.report.search.agreement import layers_chart
from fewbits.report.search.frontier import frontier_chart
from fewbits.report.search.map import scheme_map
from fewbits.report.search.page import sensitivity_page, tuned_page
from fewbits.search import Goal, parse_limit
from fewbits.search.explain import layer_facts
from fewbits.search.outcome import Tuned
from fewbits.search.seek import Search
from tests import tiny
from tests.search.tiny import search, spiky, text


@pytest.fixture(scope="module")
def one() -> Search:
    return search(spiky(tiny.llama()), text(), measure=True)


@pytest.fixture(scope="module")
def tuned(one: Search) -> Tuned:
    return one.with_landscape(one.run(Goal.of([parse_limit("bits<=4")])))


def test_the_page_tells_limits_plans_and_reasons(one: Search, tuned: Tuned) -> None:
    page = tuned_page("tiny", tuned, layer_facts(one.trial, tiny.tokens()), [("machine", "this <one>")], "fewbits tune tiny")
    said = to_markdown(page)
    assert "bits<=4" in said and "holds" in said and "heavy tails" in said and "fewbits tune tiny" in said
    assert tuned.best_uniform is not None and tuned.best_uniform.name in said and tuned.digests["model"] in said
    html = to_html(page)
    assert html.count("<svg") == 6 and "this &lt;one&gt;" in html


def test_every_plan_is_a_point_with_its_error_bar(tuned: Tuned) -> None:
    chart = frontier_chart(tuned)
    assert chart.data is not None and len(chart.data.rows) == len(tuned.tried)
    assert chart.wide.count("predicted ") >= len(tuned.tried)


def test_the_map_has_a_cell_for_each_layer_and_scheme_and_a_ring_for_each_layer(one: Search, tuned: Tuned) -> None:
    chart = scheme_map(one.space, one.sensitivities.loss, tuned.chosen.choice)
    assert chart.wide.count("loses ") >= len(one.space.units) * (len(one.space.candidates) + 1)
    assert chart.data is not None and len(chart.data.rows) == len(one.space.units)


def test_sensitivities_against_the_truth(one: Search) -> None:
    chart = layers_chart(one.sensitivities)
    assert isinstance(chart, Figure) and "Rank correlation" in chart.sentence
    page = sensitivity_page("tiny", one.sensitivities, layer_facts(one.trial, None), [], "fewbits sensitivity tiny")
    assert to_html(page).count("<svg") == 4

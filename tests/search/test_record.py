import csv
import io
import json

import pytest

from fewbits import planfile
from fewbits.search import Goal, parse_limit
from fewbits.search.explain import layer_facts
from fewbits.search.record import sensitivity_csv, tuned_csv, tuned_record
from fewbits.search.seek import Search
from tests import tiny
from tests.search.tiny import search, text


@pytest.fixture(scope="module")
def one() -> Search:
    return search(tiny.llama(), text())


def test_all_of_it_is_plain_data_that_makes_the_plan_again(one: Search) -> None:
    tuned = one.with_landscape(one.run(Goal.of([parse_limit("bits<=4")])))
    record = json.loads(json.dumps(tuned_record(tuned, layer_facts(one.trial, tiny.tokens()))))
    assert planfile.from_dict(record["plan"]) == tuned.plan
    assert record["limits"][0]["holds"] and record["chosen"]["bytes"] == tuned.chosen.nbytes
    assert {t["kind"] for t in record["tried"]} >= {"tuned", "uniform"}
    assert len(record["sensitivities"]["layers"]) == len(one.space.units)
    rows = list(csv.DictReader(io.StringIO(tuned_csv(tuned))))
    assert len(rows) == len(tuned.tried) and float(rows[0]["bytes"]) > 0 and "verified ppl" in rows[0]


def test_a_line_for_each_layer_and_scheme(one: Search) -> None:
    rows = list(csv.DictReader(io.StringIO(sensitivity_csv(one.sensitivities))))
    assert len(rows) == sum(len(unit.options) - 1 for unit in one.space.units)
    assert all(float(row["cheap"]) >= 0 and row["measured"] == "" for row in rows)


def test_weights_by_scheme(one: Search) -> None:
    counts = one.space.counts(one.space.uniform("mse:uint4g32"))
    assert counts == [("mse:uint4g32", len(one.space.units), one.space.params)]

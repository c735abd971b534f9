"""On trained models, where layers differ as they do in life; scored on data that the search did not use."""

import random

import pytest

from fewbits.data import load_text
from fewbits.models import load
from fewbits.search import Goal, Search, Settings, parse_limit, space_of, text_data
from fewbits.search.agreement import rank_correlation
from fewbits.search.pick import added
from tests.shared import shared_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gpt2() -> Search:
    loaded = load(shared_path("models/gpt2-9m"))
    chosen = load_text(str(shared_path("data/calibration.txt")), tokenizer=loaded.tokenizer, max_tokens=40_000)
    scored = load_text(str(shared_path("data/peps.txt")), tokenizer=loaded.tokenizer, max_tokens=4_000)
    data = text_data(chosen.ids, bos=chosen.bos, verify=scored.ids, tokens=1024, samples=24)
    return Search(loaded.model, data, space_of(loaded.model), settings=Settings(samples=24, rounds=0), remember=False)


def test_a_tuned_plan_loses_a_quarter_less_than_the_best_uniform_one_of_its_bytes(gpt2: Search) -> None:
    most = gpt2.space.nbytes(gpt2.space.uniform("mse:uint3g64/q8"))
    tuned = gpt2.run(Goal.of([parse_limit(f"size<={most}")]))
    assert tuned.best_uniform is not None and tuned.uniform is None and tuned.chosen.nbytes <= most
    assert tuned.chosen.main < 0.75 * tuned.best_uniform.main


def test_predictions_rank_random_plans_as_they_measure(gpt2: Search) -> None:
    rng, plans = random.Random(0), []
    for _ in range(12):
        low = rng.uniform(0, 0.6)
        plans.append(tuple(int(rng.uniform(low, low + 0.3) * (len(unit.options) - 1)) for unit in gpt2.space.units))
    predicted = [added(gpt2.sensitivities.loss, plan) for plan in plans]
    scored = [gpt2.judge.evidence(plan).value("kl") for plan in plans]
    assert rank_correlation(predicted, scored) > 0.95

import math

import pytest
import torch
from torch import nn

from fewbits.measure import image_quality, text_quality
from fewbits.measure.windows import cut
from fewbits.search.evidence import Evidence
from fewbits.search.judge import ImageVerification, Judge, LossVerification, TextVerification
from fewbits.search.store import Store
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.tiny import ids, space


def test_values_are_those_that_eval_measures() -> None:
    model = tiny.llama()
    trial = Trial(model, space(model))
    judge = Judge(trial, TextVerification(cut=cut(ids(200), "windows:32", bos=1)), Store())
    choice = trial.space.uniform(trial.space.candidates[0])
    found = judge.evidence(choice)
    trial.apply(choice)
    expected = text_quality(trial.model, ids(200), "windows:32", bos=1, reference=tiny.llama())
    for measure in found.measures("windows:32", "x"):
        assert measure.value == pytest.approx(expected[measure.name].value, rel=1e-4)
        assert measure.se == pytest.approx(expected[measure.name].se, rel=1e-3) and measure.n == expected[measure.name].n
    assert judge.original().value("kl") == pytest.approx(0, abs=1e-6)


def test_images() -> None:
    model = tiny.vit()
    trial = Trial(model, space(model))
    batches = [(tiny.images(16, 40), torch.arange(40) % 10)]
    found = Judge(trial, ImageVerification(batches=batches, digest="d"), Store()).evidence(trial.space.uniform("mse:uint2g32"))
    trial.apply(trial.space.uniform("mse:uint2g32"))
    expected = image_quality(trial.model, batches, reference=tiny.vit())
    for name in ("kl", "accuracy", "top1"):
        assert found.value(name) == pytest.approx(expected[name].value, rel=1e-4)


def test_any_loss() -> None:
    data = LossVerification(batches=(torch.zeros(2, 3), torch.ones(2, 3)), loss_of=lambda m, x: m(x).mean(), digest="d")
    model = nn.Linear(3, 1, bias=False)
    model.weight.data.fill_(1.0)
    found = data.score(model, model)
    assert found.main == "loss" and found.value("loss") == pytest.approx(1.5) and found.se("loss") == pytest.approx(1.5)


def test_pairs_tell_smaller_differences_than_two_errors_do() -> None:
    noise = [5.0, 1.0, 9.0, 3.0]
    a = Evidence(sums={"nll": noise}, counts=[2] * 4)
    b = Evidence(sums={"nll": [n + 0.2 for n in noise]}, counts=[2] * 4)
    change, se = b.change(a, "ppl")
    assert change == pytest.approx(0.1) and se == pytest.approx(0, abs=1e-12) and a.se("nll") > 0.5
    assert b.value("ppl") == pytest.approx(a.value("ppl") * math.exp(0.1))

import pytest
import torch

from fewbits.search import fisher
from fewbits.search.fisher import fisher_scores
from fewbits.search.store import Store
from fewbits.search.trial import Trial
from tests import tiny
from tests.search.tiny import space, text


def test_scores_are_the_mean_squared_products_of_gradient_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fisher, "CHUNK", 100)  # many chunks
    model = tiny.llama()
    trial = Trial(model, space(model))
    data = text().gradients
    found = fisher_scores(trial, data, Store(), most=4)
    unit = trial.space.units[0]
    weight = trial.weight(unit.layers[0]).requires_grad_(True)
    along, diagonal, rows = 0.0, 0.0, 0
    for at in range(4):
        loss, count = data.pseudo_loss(trial.model, at)
        (gradient,) = torch.autograd.grad(loss, [weight])
        gradient, error = gradient.bfloat16().float(), trial.error(unit.layers[0], unit, 0)
        along, diagonal = along + float((gradient * error).sum()) ** 2, diagonal + float((gradient * error).square().sum())
        rows += count
    assert found.along[0][0] == pytest.approx(0.5 * along / rows, rel=1e-3)
    assert found.diagonal[0][0] == pytest.approx(0.5 * diagonal / rows, rel=1e-3)
    assert [row[-1] for row in found.along] == [0.0] * len(trial.space.units)


def test_parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.vit()
    whole, parts = (Trial(model, space(model)) for _ in range(2))
    from tests.search.tiny import images

    first = fisher_scores(whole, images().gradients, Store(), most=6)
    monkeypatch.setattr(fisher, "MOST_BYTES", 2 * 2 * sum(u.params for u in parts.space.units))  # two samples at a time
    store = Store()
    second = fisher_scores(parts, images().gradients, store, most=6)
    assert store.made == 3
    assert second.along[3] == pytest.approx(first.along[3], rel=1e-4)


def test_more_bits_lose_less() -> None:
    model = tiny.gpt2()
    found = fisher_scores(Trial(model, space(model)), text().gradients, Store(), most=8)
    assert all(row[0] > row[1] > row[2] > 0 for row in found.diagonal)


def test_weights_need_no_gradient_afterwards() -> None:
    model = tiny.llama()
    trial = Trial(model, space(model))
    fisher_scores(trial, text().gradients, Store(), most=2)
    assert not [p for p in trial.model.parameters() if p.requires_grad]

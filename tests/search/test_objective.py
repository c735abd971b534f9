import pytest
import torch
from torch import nn

from fewbits.measure import text_divergence
from fewbits.search.objective import Divergence, LossRise, digest_of, spread_windows
from tests import tiny
from tests.search.tiny import ids


def noisy() -> nn.Module:
    model = tiny.llama()
    model.get_parameter("model.layers.0.mlp.up_proj.weight").data += 0.3
    return model


def test_the_loss_of_a_text_is_the_divergence_that_eval_measures() -> None:
    windows = ids(96).view(4, 24)
    data = Divergence(windows.split(2), causal=True)
    with torch.no_grad():
        data.remember(tiny.llama())
        rows = torch.cat([data.loss(noisy(), i) for i in range(2)])
    measured = text_divergence(noisy(), tiny.llama(), ids(96), "windows:24")
    assert len(rows) == 4 * 23 and data.cluster == 23
    assert rows.mean().item() == pytest.approx(measured.kl.value, rel=1e-4)
    assert torch.cat([data.loss(tiny.llama(), i) for i in range(2)]).abs().max() < 1e-5


def test_squared_gradients_tell_the_divergence_to_second_order() -> None:
    """KL(p_W || p_{W + tE}) ~ t^2 / 2 E[<grad log q(y), E>^2]: 400 draws come within a few standard errors."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4))
    inputs = torch.randn(40, 6)
    data = Divergence([inputs], causal=False, sample=1)
    with torch.no_grad():
        data.remember(model)
    weight = model[0].weight
    error = 0.02 * torch.randn_like(weight)
    found = []
    for seed in range(10):
        data.seed = seed
        for at in range(data.samples()):
            loss, rows = data.pseudo_loss(model, at)
            assert rows == 1
            (gradient,) = torch.autograd.grad(loss, [weight])
            found.append(0.5 * float((gradient * error).sum()) ** 2)
    with torch.no_grad():
        weight += error
        truth = data.loss(model, 0).mean().item()
    assert sum(found) / len(found) == pytest.approx(truth, rel=0.3)


def test_pseudo_losses_depend_on_the_seed_alone() -> None:
    model, inputs = nn.Sequential(nn.Linear(6, 40)), torch.randn(2, 6)
    drawn = [Divergence([inputs], causal=False, seed=seed).pseudo_loss(model, 0)[0].item() for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


def test_any_loss_function() -> None:
    model = nn.Linear(3, 1, bias=False)
    data = LossRise([torch.ones(2, 3), torch.zeros(2, 3)], lambda m, x: (m(x) - 1).square().mean())
    data.remember(model)
    assert [data.loss(model, i).item() for i in range(2)] == [0, 0]
    model.weight.data.fill_(1.0)
    assert data.loss(model, 1).item() == 0 and data.loss(model, 0).item() != 0
    assert data.tensor() is None and data.samples() == 2


def test_windows_are_spread_over_the_whole_text() -> None:
    windows = spread_windows(torch.arange(100), 3, 11, bos=999)
    assert windows.shape == (3, 11) and windows[:, 0].tolist() == [999] * 3
    assert windows[0, 1] == 0 and windows[-1, -1] == 99
    assert spread_windows(torch.arange(20), 9, 10, bos=None).shape == (2, 10)


def test_a_digest_names_values_shapes_and_types() -> None:
    one = torch.arange(6)
    others = [one.view(2, 3), one.int(), one + 1]
    assert len({digest_of([t]) for t in (one, *others)}) == 4 and digest_of([one]) == digest_of([(one.clone(), "x")])

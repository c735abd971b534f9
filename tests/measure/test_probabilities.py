import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.measure import probabilities

P = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
Q = torch.tensor([[0.25, 0.25, 0.5], [0.1, 0.2, 0.7]])


def test_nll_by_hand() -> None:
    logits = P.log() + 3.0  # a constant changes nothing
    assert probabilities.nll(logits, torch.tensor([0, 2])).tolist() == pytest.approx([0.693147, 0.356675], abs=1e-6)


def test_kl_by_hand_and_its_direction() -> None:
    two = torch.log(torch.tensor(2.0)).item()
    assert probabilities.kl(Q.log(), P.log()).tolist() == pytest.approx([0.5 * two - 0.25 * two, 0.0], abs=1e-6)
    skewed = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert probabilities.kl(*skewed).item() == pytest.approx(0.5108256, abs=1e-6)  # sum of 0.5 log(0.5 / q)
    assert probabilities.kl(*skewed[::-1]).item() == pytest.approx(0.3680642, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_equal_logits_diverge_by_exactly_nothing(dtype: torch.dtype) -> None:
    logits = (torch.randn(20, 500) * 9).to(dtype)
    assert probabilities.kl(logits, logits.clone()).tolist() == [0.0] * 20
    assert probabilities.same_top(logits, logits.clone()).all()


def test_what_the_reference_rules_out_costs_nothing_and_the_other_way_round_all() -> None:
    out = torch.tensor([[0.0, 0.0, -torch.inf]])
    every = torch.zeros(1, 3)
    assert probabilities.kl(every, out).item() == pytest.approx(torch.tensor(1.5).log().item())
    assert probabilities.kl(out, out).item() == 0.0
    assert probabilities.kl(out, every).item() == torch.inf


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, targets = torch.randn(23, 50), torch.randn(23, 50), torch.randint(50, (23,))
    whole = probabilities.nll(a, targets), probabilities.kl(a, b)
    monkeypatch.setattr(probabilities, "CHUNK", 130)  # 2 rows
    assert probabilities.nll(a, targets).equal(whole[0])
    assert probabilities.kl(a, b).equal(whole[1])


def test_models_of_different_tasks_are_refused() -> None:
    with pytest.raises(FewbitsError, match="tells 5 classes or tokens apart, its reference 6"):
        probabilities.compare(torch.zeros(2, 5), torch.zeros(2, 6))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused_and_counted(bad: float) -> None:
    with pytest.raises(FewbitsError, match="the loss is NaN or infinite at 1 of 3 places"):
        probabilities.need_numbers(torch.tensor([1.0, bad, 2.0]), "the loss")


def test_a_reference_of_nan_is_no_agreement() -> None:
    logits = torch.zeros(2, 4)
    broken = torch.stack([torch.zeros(4), torch.full((4,), float("nan"))])
    assert probabilities.kl(logits, broken).isnan().tolist() == [False, True]
    assert probabilities.kl(broken, logits).isnan().tolist() == [False, True]

from pathlib import Path

import pytest
import torch
from torch import nn

import fewbits
from fewbits.errors import FewbitsError
from fewbits.measure import size
from fewbits.search import Goal, Search, Settings, loss_data, parse_limit, space_of
from fewbits.search.store import Store
from fewbits.search.tune import tune
from tests import tiny
from tests.search.tiny import CANDIDATES, images, search, spiky, text


def goal(*limits: str, **how: str) -> Goal:
    return Goal.of([parse_limit(text) for text in limits], **how)


@pytest.fixture(scope="module")
def llama() -> Search:
    return search(spiky(tiny.llama()), text())


def middle(one: Search) -> int:
    """Bytes between those of 2 and of 4 bits."""
    a, b = (one.space.nbytes(one.space.uniform(c)) for c in CANDIDATES[:2])
    return (a + b) // 2


def test_a_size_is_never_exceeded_and_the_plan_beats_the_uniform_ones(llama: Search) -> None:
    found = llama.run(goal(f"size<={middle(llama)}B"))
    model = fewbits.quantize(spiky(tiny.llama()), found.plan)
    assert size(model).value == found.chosen.nbytes <= middle(llama)
    assert found.best_uniform is not None and found.uniform is None
    assert found.chosen.evidence is not None and found.best_uniform.evidence is not None
    assert found.chosen.evidence.value("kl") < found.best_uniform.evidence.value("kl")
    assert len(set(found.chosen.choice)) > 1


def test_the_smallest_plan_that_keeps_its_quality(llama: Search) -> None:
    lost = llama.judge.evidence(llama.space.uniform(CANDIDATES[1])).value("kl")
    found = llama.run(goal(f"kl<={3 * lost}", minimize="size"))
    (verdict,) = found.verdicts
    assert verdict.holds and verdict.worst <= 3 * lost and found.chosen.nbytes < llama.space.nbytes(llama.space.kept())
    tighter = llama.run(goal(f"kl<={lost}", minimize="size"))
    assert tighter.chosen.nbytes > found.chosen.nbytes


def test_bits_and_memory(llama: Search) -> None:
    assert llama.space.bits(llama.run(goal("bits<=4")).chosen.choice) <= 4
    one = search(tiny.llama(), text(), context=64, batch=2)
    assert one.costs.cache == 2 * 64 * 2 * 2 * 32 * 4  # batch, tokens, layers, keys and values, 2 heads of 16, float32
    most = middle(one) + one.costs.cache
    found = one.run(goal(f"memory<={most}B"))
    assert found.chosen.nbytes <= middle(one) and found.verdicts[0].value == found.chosen.nbytes + one.costs.cache


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("limits", "helps"),
    [
        (("size<=10B",), "--candidate"),
        (("kl<=0.000001", "size<=30%"), "The nearest takes"),
        (("ppl<=1",), "the original: "),
        (("accuracy>=10%",), "accuracy is not measured for this model, but ppl, kl, top1"),
        (("decode_speed>=1000000000",), "as it is"),
    ],
)
def test_what_is_impossible_is_answered_with_the_nearest(llama: Search, limits: tuple[str, ...], helps: str) -> None:
    with pytest.raises(FewbitsError) as refused:
        llama.run(goal(*limits))
    assert helps in str(refused.value) and "\n" not in str(refused.value)


def test_a_uniform_plan_that_is_better_is_given_and_named() -> None:
    """Where every layer is alike and only one scheme is offered, no mixed plan can beat it."""
    model = tiny.llama()
    space = space_of(model, CANDIDATES[1:2])
    one = Search(model, text(), space, settings=Settings(samples=8, rounds=0), remember=False)
    nbytes = space.nbytes(space.uniform(CANDIDATES[1]))
    found = one.run(goal(f"size<={nbytes}B"))
    assert found.uniform == CANDIDATES[1] and found.chosen.choice == space.uniform(CANDIDATES[1])


def test_same_seed_same_plan_and_another_limit_reads_what_was_measured(tmp_path: Path) -> None:
    first, second = (search(tiny.gpt2(), text(), cache).run(goal("bits<=4")) for cache in (tmp_path, None))
    assert first.plan == second.plan and first.chosen.measured == pytest.approx(second.chosen.measured, rel=1e-6)
    again = search(tiny.gpt2(), text(), tmp_path)
    assert again.store.made == 0
    assert again.run(goal("bits<=4")).plan == first.plan and again.store.made == 0
    assert again.predict(goal("bits<=3")) is not None and again.store.made == 0


def test_a_limit_on_quality_is_answered_from_what_was_measured_before(tmp_path: Path) -> None:
    wanted = goal("kl<=0.001", minimize="size")
    assert search(spiky(tiny.llama()), text(), tmp_path).predict(wanted) is None
    found = search(spiky(tiny.llama()), text(), tmp_path, rounds=0).run(wanted)
    again = search(spiky(tiny.llama()), text(), tmp_path)
    assert again.predict(wanted) == found.chosen.choice and again.store.made == 0


def test_killed_at_any_moment_and_resumed_it_comes_to_the_same_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(spiky(tiny.gpt2()), text()).run(goal("bits<=3.5"))
    write, count = Store._write, [0]

    def dies(self: Store, key: str, value: object) -> None:
        count[0] += 1
        if count[0] % 4 == 0:
            raise KeyboardInterrupt
        write(self, key, value)

    monkeypatch.setattr(Store, "_write", dies)
    for _ in range(50):
        try:
            found = search(spiky(tiny.gpt2()), text(), tmp_path).run(goal("bits<=3.5"))
        except KeyboardInterrupt:
            continue
        break
    assert count[0] >= 8 and found.plan == whole.plan


def test_classifiers() -> None:
    one = search(tiny.vit(), images())
    found = one.run(goal("accuracy>=-60pt", minimize="size"))
    assert found.verdicts[0].holds and found.chosen.nbytes < one.space.nbytes(one.space.kept())
    assert set(found.original.sums) == {"accuracy", "kl", "top1"}


@pytest.mark.usefixtures("short")
def test_a_convolutional_network_with_latency() -> None:
    one = search(tiny.cnn(), images())
    found = one.run(goal("latency<=+100000%", "size<=60%"))
    assert found.speeds["latency"].value > 0 and [v.holds for v in found.verdicts] == [True, True]


@pytest.mark.usefixtures("short")
def test_tokens_a_second() -> None:
    one = search(tiny.llama(), text())
    found = one.run(goal("decode_speed>=1%", "size<=60%"))
    assert found.speeds["decode_speed"].value > 0
    faster = one.run(goal("kl<=100", maximize="decode_speed"))
    assert faster.speeds["decode_speed"].value > 0 and faster.goal.is_added


def test_any_module_with_a_loss_function() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1))
    batches = [torch.randn(16, 32) for _ in range(12)]
    target = [model(b).detach() for b in batches]
    pairs = list(zip(batches, target, strict=True))
    data = loss_data(pairs[:8], pairs[8:], lambda m, pair: (m(pair[0]) - pair[1] - 0.1).square().mean())
    found = tune(model, data, ["bits<=5"], candidates=CANDIDATES, settings=Settings(samples=8), remember=False)
    assert found.chosen.evidence is not None and found.chosen.evidence.main == "loss"
    assert 8 * found.space.nbytes(found.chosen.choice) - 8 * found.space.fixed <= 5 * found.space.params
    fewbits.quantize(model, found.plan)


def test_measured_sensitivities_are_searched_by_when_asked() -> None:
    one = search(tiny.llama(), text(), measure=True)
    assert one.sensitivities.measured is not None and one.sensitivities.loss is one.sensitivities.measured
    truth = one.bench.loss((0, *one.space.kept()[1:]))
    assert one.sensitivities.measured[0][0] == pytest.approx(truth, rel=1e-3)


def test_the_model_is_left_alone() -> None:
    model = tiny.llama()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tune(model, text(), ["bits<=4"], candidates=CANDIDATES, settings=Settings(samples=2, rounds=0), remember=False)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and not fewbits.plan_of(model)

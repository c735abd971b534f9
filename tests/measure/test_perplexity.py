from math import exp, sqrt

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from fewbits.errors import FewbitsError
from fewbits.measure import perplexity, text
from tests.measure.tiny import TinyLM, tiny_llama
from tests.shared import shared_path

TEXT = torch.randint(13, (101,), generator=torch.Generator().manual_seed(1))
BOS = 3


def naive(model: nn.Module, context: list[int], target: int) -> float:
    """-log p(target | context), alone and in f64."""
    logits = model.double()(torch.tensor([context]))[0, -1]
    return -(logits[target] - logits.logsumexp(0)).item()


def by_hand(model: nn.Module, windows: list[tuple[list[int], int]]) -> list[list[float]]:
    """Losses of the last tokens of each window, one forward a token."""
    return [[naive(model, ids[:i], ids[i]) for i in range(len(ids) - scored, len(ids))] for ids, scored in windows]


def ppl_and_se(losses: list[list[float]]) -> tuple[float, float]:
    """Written out once more: e^mean, and e^mean times the standard error of the windows' means (of one size)."""
    means = [sum(window) / len(window) for window in losses]
    mean = sum(means) / len(means)
    variance = sum((m - mean) ** 2 for m in means) / (len(means) - 1)
    return exp(mean), exp(mean) * sqrt(variance / len(means))


@pytest.mark.parametrize("batch_size", [1, 3, 64, None])
def test_windows_by_hand(batch_size: int | None) -> None:
    got = perplexity(TinyLM(), TEXT, "windows:8", bos=BOS, batch_size=batch_size)
    ids = TEXT.tolist()
    value, se = ppl_and_se(by_hand(TinyLM(), [([BOS, *ids[i : i + 7]], 7) for i in range(0, 98, 7)]))
    assert (got.value, got.se) == (pytest.approx(value, rel=1e-5), pytest.approx(se, rel=1e-4))
    assert (got.name, got.unit, got.n, got.protocol) == ("ppl", "", 98, "windows:8")
    assert got.parts == {"nll": pytest.approx(torch.tensor(value).log().item()), "windows": 14, "unused": 3} | {
        "bos": True,
        "dtype": "float32",
        "arithmetic": "exact",
    }


def test_plain_windows_by_hand() -> None:
    got = perplexity(TinyLM(), TEXT, "plain:8", bos=BOS)
    ids = TEXT.tolist()
    value, se = ppl_and_se(by_hand(TinyLM(), [(ids[i : i + 8], 7) for i in range(0, 96, 8)]))
    assert (got.value, got.se, got.n) == (pytest.approx(value, rel=1e-5), pytest.approx(se, rel=1e-4), 84)
    assert perplexity(TinyLM(), TEXT, "windows:8") == got


@pytest.mark.parametrize(("length", "step"), [(16, 8), (16, 5), (200, 100)])
def test_strides_by_hand(length: int, step: int) -> None:
    """Each token by itself, after the context that the window in which it is new shows it."""
    model, ids = TinyLM(), TEXT.tolist()
    losses = [naive(model, ids[: min(length, 101)][:i], ids[i]) for i in range(1, min(length, 101))]
    for i in range(length, 101):
        window = -(-(i + 1 - length) // step)  # the first window that reaches token i
        losses.append(naive(model, ids[window * step : i], ids[i]))
    got = perplexity(TinyLM(), TEXT, f"stride:{length}:{step}", bos=BOS)
    assert len(losses) == got.n == 100
    assert got.value == pytest.approx(exp(sum(losses) / 100), rel=1e-5)


def test_sentences_are_averaged_one_by_one() -> None:
    texts = [TEXT[:5], TEXT[5:6], TEXT[6:26], TEXT[26:40]]
    losses = by_hand(TinyLM(), [([BOS, *t.tolist()], len(t)) for t in texts])
    each = [exp(sum(sentence) / len(sentence)) for sentence in losses]
    got = perplexity(TinyLM(), texts, "sentences", bos=BOS)
    mean = sum(each) / 4
    assert got.value == pytest.approx(mean, rel=1e-5)
    assert got.se == pytest.approx(sqrt(sum((e - mean) ** 2 for e in each) / 3 / 4), rel=1e-4)
    assert (got.n, got.protocol) == (40, "sentences")
    assert got.parts["nll"] == pytest.approx(sum(map(sum, losses)) / 40, rel=1e-5)


def test_one_window_has_no_standard_error() -> None:
    assert perplexity(TinyLM(), TEXT, "plain:101").se is None


def test_transformers_loss_agrees() -> None:
    model, ids = tiny_llama(), torch.randint(64, (60,))
    with torch.no_grad():
        loss = model(ids[None], labels=ids[None]).loss.item()
    assert perplexity(model, ids, "plain:60").value == pytest.approx(exp(loss), rel=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    model = TinyLM()
    model.add_module("drop", nn.Dropout(0.9))
    model.train()
    model.up.eval()
    perplexity(model, TEXT, "windows:8", bos=BOS)
    assert [m.training for m in (model, model.embed, model.up, model.drop)] == [True, True, False, True]
    assert model.embed.weight.requires_grad


def test_a_batch_is_bounded_by_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    seen = []
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    monkeypatch.setitem(text.LOGITS, "cpu", 3 * 64 * 8)  # three windows of 8 at a vocabulary of 64
    perplexity(model, TEXT % 64, "plain:8")
    assert seen == [3, 3, 3, 3]


def test_windows_beyond_the_models_positions_are_refused() -> None:
    with pytest.raises(FewbitsError, match="'windows:65' makes windows of 65 tokens: LlamaForCausalLM has 64 positions"):
        perplexity(tiny_llama(), TEXT, "windows:65", bos=0)


class Broken(nn.Module):
    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, ids: Tensor) -> Tensor:
        logits = torch.zeros(*ids.shape, 13)
        logits[..., 0] = self.logit
        return logits


@pytest.mark.parametrize(("logit", "message"), [(torch.nan, "the loss is NaN"), (1e6, r"a loss of .* has no perplexity")])
def test_a_broken_model_has_no_perplexity(logit: float, message: str) -> None:
    with pytest.raises(FewbitsError, match=message):
        perplexity(Broken(logit), TEXT, "plain:8")
    with pytest.raises(FewbitsError, match=message):
        perplexity(Broken(logit), [TEXT[:9], TEXT[9:]], "sentences")


def test_a_model_that_answers_no_logits_is_refused() -> None:
    class Silent(nn.Module):
        def forward(self, ids: Tensor) -> dict[str, Tensor]:
            return {"hidden": ids}

    with pytest.raises(FewbitsError, match="Silent returns a dict, not logits"):
        perplexity(Silent(), TEXT, "plain:8")


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(FewbitsError, match="TinyLM is on the meta device"):
        perplexity(TinyLM().to("meta"), TEXT, "plain:8")


def shared_text(model: str, count: int) -> tuple[nn.Module, Tensor, int]:
    folder = shared_path(f"models/{model}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = shared_path("data/peps.txt").read_text(encoding="utf-8")[: 8 * count]  # a token is about 4 characters
    ids = torch.tensor(tokenizer(text, add_special_tokens=False).input_ids)[:count]
    assert len(ids) == count
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), ids, tokenizer.bos_token_id


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("llama-28m", 24.2032), ("llama-8m", 32.2883), ("gpt2-9m", 41.3434)])
def test_trained_models_on_20_000_tokens(name: str, value: float) -> None:
    model, ids, bos = shared_text(name, 20_000)
    got = perplexity(model, ids, "windows:512", bos=bos)
    assert got.value == pytest.approx(value, abs=2e-4)
    assert (got.n, got.parts["windows"]) == (19_929, 39)

from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.measure import Remembered, image_divergence, image_quality, perplexity, text_divergence, text_quality
from tests.measure.tiny import TinyLM, tiny_classifier, tiny_llama

TEXT = torch.randint(13, (101,), generator=torch.Generator().manual_seed(2))
BOS = 3


def naive_kl(reference: nn.Module, model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """KL and agreement where tokens 1.. are predicted, in f64."""
    p = reference.double()(ids[None])[0, :-1].softmax(-1)
    q = model.double()(ids[None])[0, :-1].softmax(-1)
    return (p * (p / q).log()).sum(-1), p.argmax(-1) == q.argmax(-1)


def other() -> TinyLM:
    model = TinyLM()
    with torch.no_grad():
        model.up.weight.add_(torch.randn(model.up.weight.shape, generator=torch.Generator().manual_seed(5)), alpha=0.2)
    return model


def test_text_by_hand() -> None:
    got = text_divergence(other(), TinyLM(), TEXT, "windows:8", bos=BOS)
    pieces = [torch.cat([torch.tensor([BOS]), TEXT[i : i + 7]]) for i in range(0, 98, 7)]
    kl, same = zip(*(naive_kl(TinyLM(), other(), ids) for ids in pieces), strict=True)
    every, agree = torch.cat(kl), torch.cat(same)
    assert got.kl.value == pytest.approx(every.mean().item(), rel=1e-4)
    means = torch.stack([k.mean() for k in kl])
    assert got.kl.se == pytest.approx((means.std() / sqrt(14)).item(), rel=1e-4)
    assert got.kl.parts["max"] == pytest.approx(every.max().item(), rel=1e-4)
    assert got.kl.parts["median"] == pytest.approx(every.sort().values[48].item(), rel=1e-3)
    assert got.kl.parts["p99"] == pytest.approx(every.sort().values[97].item(), rel=1e-3)
    assert 0 < got.top1.value < 1
    assert got.top1.value == pytest.approx(agree.double().mean().item())
    assert (got.kl.name, got.kl.unit, got.kl.n, got.kl.protocol) == ("kl", "nats", 98, "windows:8")
    assert (got.top1.name, got.top1.unit, got.top1.n) == ("top1", "", 98)


def test_the_reference_comes_first_in_the_divergence() -> None:
    forth = text_divergence(other(), TinyLM(), TEXT, "windows:8", bos=BOS).kl.value
    back = text_divergence(TinyLM(), other(), TEXT, "windows:8", bos=BOS).kl.value
    assert abs(forth - back) > 1e-4


@pytest.mark.parametrize("protocol", ["windows:8", "plain:8", "stride:8:4"])
def test_identical_models_diverge_by_exactly_nothing(protocol: str) -> None:
    got = text_divergence(TinyLM(), TinyLM(), TEXT, protocol, bos=BOS)
    assert (got.kl.value, got.kl.se, got.kl.parts["max"]) == (0.0, 0.0, 0.0)
    assert (got.top1.value, got.top1.se) == (1.0, 0.0)


def test_images_by_hand() -> None:
    model, reference = tiny_classifier(seed=1).eval(), tiny_classifier(seed=2).eval()
    images, labels = torch.rand(20, 3, 4, 4), torch.randint(4, (20,))
    p, q = reference(images).softmax(-1), model(images).softmax(-1)
    each = (p * (p / q).log()).sum(-1)
    got = image_divergence(model, reference, images.split(6))
    assert got.kl.value == pytest.approx(each.mean().item(), rel=1e-4)
    assert got.kl.se == pytest.approx((each.std() / sqrt(20)).item(), rel=1e-4)
    assert got.top1.value == pytest.approx((p.argmax(-1) == q.argmax(-1)).double().mean().item())
    assert (got.kl.n, got.kl.protocol) == (20, "images")
    with_labels = image_divergence(model, reference, list(zip(images.split(6), labels.split(6), strict=True)))
    assert with_labels.kl.value == got.kl.value
    assert with_labels.kl.data != got.kl.data


def test_one_pass_tells_the_same_as_three() -> None:
    measures = text_quality(other(), TEXT, "windows:8", bos=BOS, reference=TinyLM())
    apart = text_divergence(other(), TinyLM(), TEXT, "windows:8", bos=BOS)
    assert measures == {"ppl": perplexity(other(), TEXT, "windows:8", bos=BOS), "kl": apart.kl, "top1": apart.top1}
    assert list(text_quality(other(), TEXT, "windows:8", bos=BOS)) == ["ppl"]


def test_one_pass_over_images() -> None:
    model, reference = tiny_classifier(seed=1), tiny_classifier(seed=2)
    data = [(torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 0]))]
    measures = image_quality(model, data, reference=reference)
    assert measures["kl"] == image_divergence(model, reference, data).kl
    assert list(image_quality(model, data)) == ["accuracy"]


def test_a_remembered_reference_is_asked_once_and_says_the_same() -> None:
    asked = []
    reference = tiny_llama(seed=1)
    reference.register_forward_hook(lambda *_: asked.append(1))
    plain = text_divergence(tiny_llama(), reference, TEXT, "windows:8", bos=BOS, batch_size=5)
    assert len(asked) == 3
    remembered = Remembered(reference)
    for _ in range(3):
        assert text_divergence(tiny_llama(), remembered, TEXT, "windows:8", bos=BOS, batch_size=5) == plain
    assert len(asked) == 6
    images = torch.rand(4, 3, 4, 4)
    classifier = Remembered(tiny_classifier(seed=2))
    first = image_divergence(tiny_classifier(), classifier, [images])
    assert image_divergence(tiny_classifier(), classifier, [images]) == first
    assert image_divergence(tiny_classifier(), classifier, [images + 1]) != first


def test_models_of_different_vocabularies_are_refused() -> None:
    with pytest.raises(FewbitsError, match="tells 13 classes or tokens apart, its reference 14"):
        text_divergence(TinyLM(), TinyLM(vocabulary=14), TEXT, "windows:8", bos=BOS)


def test_quantizing_harder_diverges_further() -> None:
    import fewbits

    reference = tiny_llama()
    kls = [
        text_divergence(fewbits.quantize(tiny_llama(), f"rtn:uint{bits}g16"), reference, TEXT, "plain:10").kl.value
        for bits in (8, 4, 2)
    ]
    assert 0 < kls[0] < kls[1] < kls[2]

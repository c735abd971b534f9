"""Quantizing on an NVIDIA GPU: what the solvers on the CPU find, up to rounding, and nothing else refused or let through."""

import pytest
import torch

import fewbits
from fewbits.errors import FewbitsError
from fewbits.runtime import nvrtc
from fewbits.scheme import Scheme

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(nvrtc.unavailable() is not None, reason=f"needs a GPU: {nvrtc.unavailable()}"),
]
SHAPE = (96, 1152)
SAME = [
    "rtn:uint4g64",
    "rtn:uint3g32z",
    "rtn:int8",
    "rtn:int4g128/bf16",
    "rtn:uint2g64/f32",
    "rtn:uint4g16",
    "rtn:int1g64",
    "nf4g64",
]
SEARCHED = [
    "hqq:uint4g64",
    "hqq:uint3g64",
    "hqq:int4g32",
    "hqq:uint4g64z",
    "mse:uint4g128",
    "mse:int8",
    "mse:nf4g64",
    "mse:fp4g24",
]


def weights(dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(1)
    w = torch.randn(SHAPE) * torch.rand(SHAPE[0], 1)
    w[3, :128] = 0  # two groups of zeros
    w[4, :64] = 0.7  # one value
    w[5, 64:128] += 300  # far from 0
    return w.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", [*SAME, "rtn:uint4g32o"])
def test_what_is_not_searched_is_the_same_to_the_bit(scheme: str, dtype: torch.dtype) -> None:
    want = Scheme.parse(scheme).quantize(weights(dtype))
    have = Scheme.parse(scheme).quantize(weights(dtype).cuda())
    for name, tensor in want.tensors.items():
        assert torch.equal(have.tensors[name].cpu(), tensor), name


@pytest.mark.parametrize("scheme", ["nf4g64/q8", "rtn:uint5g64/q8"])
def test_quantized_scales_differ_by_their_rounding(scheme: str) -> None:  # torch divides by multiplying on a GPU
    want, have = (
        Scheme.parse(scheme).quantize(weights(torch.float32)),
        Scheme.parse(scheme).quantize(weights(torch.float32).cuda()),
    )
    assert torch.allclose(have.scale().cpu(), want.scale(), rtol=1e-3, atol=1e-3)
    assert (have.codes().cpu() == want.codes()).float().mean() > 0.99


@pytest.mark.parametrize("scheme", SEARCHED)
def test_searches_find_the_same_grids_up_to_rounding(scheme: str) -> None:
    parsed, w = Scheme.parse(scheme), weights(torch.bfloat16)
    want, have = parsed.quantize(w), parsed.quantize(w.cuda())
    assert (have.scale().cpu() == want.scale()).float().mean() > 0.97
    assert (have.codes().cpu() == want.codes()).float().mean() > 0.99
    errors = [(q.dequantize().cpu() - w.float()).square().sum() for q in (want, have)]
    assert abs(errors[1] / errors[0] - 1) < 2e-3


def layers(value: float) -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Linear(128, 32), torch.nn.Linear(32, 64)).cuda()
    model.get_parameter("1.weight").data[3, 5] = value
    return model


def test_layers_with_bad_weights_are_named() -> None:
    with pytest.raises(FewbitsError, match=r"layer 1: its scale of .* overflows /f16"):
        fewbits.quantize(layers(1e30), "rtn:uint4g32")
    with pytest.raises(FewbitsError, match=r"layer 1: 1 of its 2,048 weights"):
        fewbits.quantize(layers(torch.nan), "hqq:uint4g32")
    with pytest.raises(FewbitsError, match=r"1 of its 2,048 weights"):
        Scheme.parse("rtn:uint4g32").quantize(layers(torch.nan).get_parameter("1.weight"))


@pytest.mark.parametrize(
    "text", ["rtn:uint4g64", "hqq:uint3g64", "mse:int4g64", "nf4g64", "rtn:int1g64", "rtn:uint4g64/q8", "rtn:int8t"]
)
@pytest.mark.parametrize("size", [1e-7, 1e-20])
def test_tiny_weights_keep_their_precision(text: str, size: float) -> None:
    scheme, w = Scheme.parse(text), torch.randn(64, 256)
    expected = (scheme.quantize(w).dequantize() - w).norm() / w.norm()
    tiny = (w * size).cuda()
    tiny[3] = 0
    model = torch.nn.Sequential(torch.nn.Linear(256, 64, bias=False), torch.nn.Linear(64, 64)).cuda()
    model[0].weight = torch.nn.Parameter(tiny.clone())
    whole = fewbits.quantize(model, {"0": text, "*": "keep"})[0]
    for made in (scheme.quantize(tiny), whole.quantized):
        error = (made.dequantize().double() - tiny.double()).norm() / tiny.double().norm()
        assert error < 1.1 * expected + 1e-3
        assert (made.dequantize()[3] == 0).all()
    x = torch.randn(4, 256, device="cuda", dtype=torch.bfloat16)
    want = x.double() @ whole.dequantize().double().T
    with torch.no_grad():
        assert (whole(x).double() - want).norm() < 0.02 * want.norm()


def test_only_weights_of_unusual_size_are_quantized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from fewbits import apply

    again: list[str] = []
    plain = apply._fit_unusual
    monkeypatch.setattr(
        apply, "_fit_unusual", lambda model, names, weights: (again.extend(names), plain(model, names, weights))
    )
    for text, expected in (("rtn:uint4g64", ["1", "2"]), ("rtn:uint4g64/f32", []), ("rtn:int4/q8", ["2"])):
        model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(4))).cuda()
        with torch.no_grad():
            model[1].weight.mul_(1e-6)
            model[2].weight[3] *= 1e-9
            model[3].weight.zero_()
        again.clear()
        fewbits.quantize(model, text)
        assert again == expected, text
        assert (model[3].dequantize() == 0).all()

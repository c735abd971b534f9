"""States of quantized layers: what is loaded is of the layer's own format, or refused; a load that is not strict is no exception."""

import copy
import io
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from fewbits import plan_of, quantize
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLinear
from fewbits.scheme import Scheme
from tests.test_layers import randn, seeded

SCHEMES = ["rtn:uint4g8", "rtn:uint4g8/bf16", "rtn:int4g8", "rtn:int4g8/bf16", "rtn:uint4g8z", "nf4g8", "fp4g8", "rtn:uint4g16",
           "rtn:uint4g8/q8", "rtn:uint4g8/f32", "rtn:int8g8", "fp8g8", "rtn:int4g8a8"]  # fmt: skip
X = randn(3, 48)


def layer(text: str, size: float = 1.0) -> QuantizedLinear:
    original = seeded(nn.Linear(48, 24))
    with torch.no_grad():
        original.weight.mul_(size)
    made = QuantizedLinear.from_float(original, Scheme.parse(text))
    assert isinstance(made, QuantizedLinear)
    return made


def through_torch(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


WAYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as it is": lambda state: state,
    "a plain dict": dict,
    "torch.save": through_torch,
    "deepcopy": copy.deepcopy,
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_state_of_another_format_is_refused(way: str, strict: bool, assign: bool) -> None:
    states = {text: layer(text).state_dict() for text in SCHEMES}
    for text in SCHEMES:
        target = nn.Sequential(layer(text))
        before = target(X)
        for other, state in states.items():
            given = {f"0.{key}": tensor for key, tensor in WAYS[way](state).items()}
            if way == "as it is":
                given = nn.Sequential(layer(other)).state_dict()
            if other == text:
                target.load_state_dict(given, strict=strict, assign=assign)
            else:
                with pytest.raises(FewbitsError, match=r"layer 0: .*state_dict"):
                    target.load_state_dict(given, strict=strict, assign=assign)
            assert torch.equal(target(X), before), (text, other)


def test_parts_of_a_state_and_other_dtypes_are_refused() -> None:
    state = layer("rtn:uint4g8").state_dict()
    for change, message in (
        ({"scale": None}, "lacks 'scale' of uint4g8"),
        ({"codes": None}, "lacks 'codes'"),
        ({"scale": state["scale"].view(torch.float16)}, "'scale' is .* torch.float16 in the state_dict"),
        ({"scale": state["scale"].float()}, "'scale' is .* torch.float32"),
        ({"codes": state["codes"][:-1]}, r"'codes' is \(575,\)"),
        ({"weight": torch.zeros(24, 48)}, "the state_dict has a float weight"),
        ({"scale_codes": torch.zeros(144, dtype=torch.uint8)}, "stores no 'scale_codes'"),
    ):
        given = {key: value for key, value in {**state, **change}.items() if value is not None}
        for strict in (True, False):
            with pytest.raises(FewbitsError, match=f"layer .*{message}"):
                layer("rtn:uint4g8").load_state_dict(given, strict=strict)


def test_a_state_through_safetensors_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    source, target = layer("rtn:uint4g8"), layer("rtn:uint4g8", 2.0)
    with caplog.at_level(logging.WARNING, "fewbits"):
        target.load_state_dict(load(save(source.state_dict())))
    assert torch.equal(target(X), source(X))
    assert "does not say its format; it is taken for uint4g8" in caplog.text


def test_another_exponent_is_taken_over_and_planned() -> None:
    tiny, plain = (quantize(nn.Sequential(seeded(nn.Linear(48, 24)), nn.Linear(24, 24)), "rtn:uint4g8") for _ in range(2))
    tiny[0].fill(layer("rtn:uint4g8", 1e-9).quantized)
    plain.load_state_dict(tiny.state_dict())
    assert str(plain[0].scheme).startswith("rtn:uint4g8/f16e-")
    assert torch.equal(plain(X), tiny(X))
    decision = plan_of(plain).decisions[0]
    assert decision.scheme == plain[0].scheme
    assert decision.why.endswith("; scales do not fit /f16")


@pytest.mark.parametrize("text", ["rtn:uint4g8", "rtn:uint4", "nf4g8"])
@pytest.mark.parametrize("inference", [True, False])
def test_what_kernels_made_before_a_load_is_not_used_after_it(text: str, inference: bool) -> None:
    with torch.inference_mode(inference), torch.no_grad():
        first, second = layer(text), layer(text, 3.0)
        before = first(X)
        first.load_state_dict(second.state_dict())
        assert torch.equal(first(X), second(X))
        assert not torch.equal(first(X), before)


@pytest.mark.parametrize("text", [*SCHEMES, "rtn:uint4g8/f16e-20"])
def test_copies_pickles_and_shared_memory_compute_the_same(text: str) -> None:
    with torch.no_grad():
        source = layer(text, 1e-7 if "e-" in text else 1.0)
        answer = source(X)
        assert torch.equal(copy.deepcopy(source)(X), answer)
        assert torch.equal(pickle.loads(pickle.dumps(source))(X), answer)
        assert torch.equal(source.share_memory()(X), answer)


def test_a_tied_layer_takes_no_weight() -> None:
    source = layer("rtn:uint4g8")
    head = QuantizedLinear.empty_like(seeded(nn.Linear(48, 24)), source.scheme, device="meta")
    head.tie(source)
    with pytest.raises(FewbitsError, match="is tied and stores no weight"):
        head.load_state_dict(source.state_dict(), strict=False)

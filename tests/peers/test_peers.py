"""Peers on tiny models: what is measured is their own modules' work, and every byte of it is counted."""

from typing import Any

import pytest
import torch
from torch import nn

from fewbits import peers
from fewbits.apply import quantize
from fewbits.errors import FewbitsError
from fewbits.measure import foreign
from fewbits.measure.size import size
from fewbits.peers.base import as_linear, cast_kept
from tests import tiny

MODELS = {name: tiny.MODELS[name] for name in ("llama", "phi3", "gpt2", "vit")}
MODULES = {"bitsandbytes": "bitsandbytes.nn.modules", "hqq": "hqq.core.quantize", "optimum-quanto": "optimum.quanto.nn"}
# Peer, options, the most that logits may be off by (relative). Groups of 32 divide every row; bitsandbytes fails where its do not.
EVERY: list[tuple[str, dict[str, Any], float]] = [
    ("bitsandbytes", {"kind": "int8"}, 0.1),
    ("bitsandbytes", {"kind": "fp4", "group": 32}, 0.8),
    ("bitsandbytes", {"kind": "nf4", "group": 32}, 0.6),
    ("bitsandbytes", {"kind": "nf4", "group": 32, "double": True}, 0.6),
    ("hqq", {"bits": 8, "group": 32}, 0.05),
    ("hqq", {"bits": 4, "group": 32}, 0.5),
    ("hqq", {"bits": 4, "group": 32, "axis": 0}, 0.5),
    ("optimum-quanto", {"kind": "qint8"}, 0.1),
    ("optimum-quanto", {"kind": "qint4"}, 0.6),
    ("torchao", {"bits": 8}, 0.1),
    ("torchao", {"bits": 4, "group": 32}, 0.6),
]


def test_names_and_options() -> None:
    assert peers.names() == ("bitsandbytes", "hqq", "optimum-quanto", "torchao")
    assert peers.options_of("hqq") == ("bits", "group", "axis")
    assert peers.make("bitsandbytes", {"kind": "nf4", "double": True}).label == "nf4 double"


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        ("hq", {}, "bitsandbytes, hqq"),
        ("hqq", {"bit": 4}, "bits, group, axis"),
        ("hqq", {"bits": 7}, "8, 6, 5, 4, 3, 2, 1"),
        ("hqq", {"group": 12}, "multiples of 8"),
        ("bitsandbytes", {"kind": "nf3"}, "int8, fp4, nf4"),
        ("bitsandbytes", {"group": 16}, "32, 64"),
        ("bitsandbytes", {"kind": "int8", "double": True}, "one scale a channel"),
        ("optimum-quanto", {"kind": "qint3"}, "qint8, qint4"),
        ("torchao", {"bits": 9}, "2 to 8"),
    ],
)
def test_what_a_peer_has_not_is_told(name: str, options: dict[str, Any], part: str) -> None:
    with pytest.raises(FewbitsError, match=part):
        peers.make(name, options)


def test_one_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(FewbitsError, match=r"hqq is not installed: pip install 'fewbits\[peers\]'"):
        peers.make("hqq", {}).apply(tiny.cnn(), torch.float32)


def test_conv1d_becomes_the_linear_layer_that_it_computes() -> None:
    layer = tiny.gpt2().get_submodule("transformer.h.0.attn.c_attn")
    x = torch.randn(3, 64)
    assert torch.allclose(as_linear(layer)(x), layer(x), atol=1e-6)


def test_bytes_of_a_foreign_layer_are_codes_and_scales() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    foreign.mark(model[0], 32)
    parts = size(model).parts
    assert (parts["codes"], parts["meta"], parts["kept"]) == (8 * 4 * 4, 0, 4 * 4 + (4 * 2 + 2) * 4)
    assert (parts["quantized"], parts["parameters"]) == (32, 32 + 4 + 10)


def test_only_what_is_kept_is_cast() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)).to(torch.bfloat16)
    foreign.mark(model[0], 32)
    cast_kept(model, torch.float32)
    assert [p.dtype for p in model.parameters()] == [torch.bfloat16, torch.float32, torch.float32, torch.float32]


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options", "most"), EVERY, ids=lambda v: str(v) if not isinstance(v, float) else "")
@pytest.mark.parametrize("architecture", MODELS)
def test_its_own_modules_do_the_work(architecture: str, name: str, options: dict[str, Any], most: float) -> None:
    make, inputs = MODELS[architecture]
    expected = tiny.output(make(), inputs())
    model = make()
    before = size(model)
    peer = peers.make(name, options)
    coverage = peer.apply(model, torch.float32)
    marked = {n: m for n, m in model.named_modules() if foreign.is_foreign(m)}
    assert marked and coverage == pytest.approx(foreign.weights_of(model) / before.parts["parameters"])
    if name in MODULES:
        assert {type(m).__module__.startswith(MODULES[name]) for m in marked.values()} == {True}
    after = size(model)
    assert after.parts["parameters"] == before.parts["parameters"]
    assert sum(after.parts[role] for role in ("codes", "meta", "kept")) == after.value < before.value
    stored = options.get("bits", 8 if "8" in str(options.get("kind")) else 4) if name != "torchao" else 8
    assert after.parts["codes"] == pytest.approx(after.parts["quantized"] * stored / 8, rel=0.01)
    cast_kept(model, torch.float32)
    off = (tiny.output(model, inputs()) - expected).norm() / expected.norm()
    assert 0 < off < most


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_convolutions_alone_have_one_peer() -> None:
    model = tiny.mobilenet()
    assert peers.make("optimum-quanto", {}).apply(model, torch.float32) > 0.9
    with pytest.raises(FewbitsError, match="the body of this model has none"):
        peers.make("bitsandbytes", {}).apply(tiny.mobilenet(), torch.float32)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_nf4_is_theirs_in_no_more_bytes() -> None:
    """The same codes: our scales are float16, theirs float32."""
    ours, theirs = tiny.llama(), tiny.llama()
    quantize(ours, "nf4g32")
    peers.make("bitsandbytes", {"group": 32}).apply(theirs, torch.float32)
    assert size(ours).value < size(theirs).value
    a, b = tiny.output(ours, tiny.tokens()), tiny.output(theirs, tiny.tokens())
    assert (a - b).norm() / b.norm() < 0.02

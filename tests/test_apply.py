"""A plan applied to models: what is replaced, what is kept, what is recorded. (Refusals: test_apply_refusals.py.)"""

import copy
from collections import Counter

import pytest
import torch
from torch import nn

from fewbits import plan_of, quantize
from fewbits.apply import rebuild, resolve
from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedConv1D, QuantizedConv2d, QuantizedEmbedding, QuantizedLayer, QuantizedLinear
from fewbits.plan import Plan
from fewbits.runtime import cpu
from tests import tiny
from tests.applied import fingerprint, quantized_names, schemes_of, unchanged


@pytest.mark.parametrize(
    ("name", "scheme"),
    [*((name, s) for name in tiny.MODELS for s in ("rtn:uint8/f32", "nf4")), ("gpt2", "rtn:int8t"), ("cnn", "rtn:uint3z/q8")],
)
def test_the_model_computes_with_what_the_layers_store(name: str, scheme: str) -> None:
    """The float model, given the dequantized weights, says exactly the same; the CPU kernels round the activations besides."""
    make, inputs = tiny.MODELS[name]
    original, model, x = make(), quantize(make(), scheme), inputs()
    for layer_name in quantized_names(model):
        layer, weight = model.get_submodule(layer_name), original.get_submodule(layer_name).weight
        stored = layer.dequantize()
        with torch.no_grad():
            weight.copy_(stored.T if isinstance(layer, QuantizedConv1D) else stored)
    expected = tiny.output(original, x)
    with cpu.enabled(False):
        assert torch.allclose(tiny.output(model, x), expected, rtol=1e-5, atol=1e-5)
    assert (tiny.output(model, x) - expected).norm() < 0.03 * expected.norm()
    assert 1e-4 < (tiny.output(model, x) - tiny.output(make(), x)).norm() < tiny.output(make(), x).norm()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("llama", {QuantizedLinear: 14}),
        ("phi3", {QuantizedLinear: 8}),
        ("gpt2", {QuantizedConv1D: 8}),
        ("vit", {QuantizedLinear: 12, QuantizedConv2d: 1}),
        ("cnn", {QuantizedConv2d: 3, QuantizedLinear: 1}),
        ("tied", {QuantizedLinear: 2}),
    ],
)
def test_the_body_is_quantized_and_the_rest_is_kept(name: str, kinds: dict[type, int]) -> None:
    model = quantize(tiny.MODELS[name][0](), "rtn:int8")
    assert Counter(type(m) for m in model.modules() if isinstance(m, QuantizedLayer)) == kinds


def test_all_of_mobilenet_but_its_classifier() -> None:
    model = quantize(tiny.mobilenet(), "rtn:int8")
    assert {d.name for d in plan_of(model).decisions if d.scheme is None} == {"classifier"}
    assert not any(isinstance(m, nn.Conv2d) for m in model.modules())


def test_it_works_in_place_and_returns_the_model() -> None:
    model = tiny.cnn()
    assert quantize(model, "rtn:int8") is model


def test_a_lone_layer_is_a_model_too() -> None:
    layer = nn.Linear(8, 4)
    quantized = quantize(layer, "rtn:int8")
    assert isinstance(quantized, QuantizedLinear)
    assert plan_of(quantized).coverage == 32 / 36


def test_attention_only() -> None:
    model = quantize(tiny.llama(), {"*attn*": "rtn:int8", "*": "keep"})
    assert quantized_names(model) == {f"model.layers.{i}.self_attn.{p}_proj" for i in (0, 1) for p in "qkvo"}
    assert {d.why for d in plan_of(model).decisions} == {"rule *attn*", "rule *", "embedding", "output head"}


def test_the_first_rule_that_matches_decides() -> None:
    model = quantize(tiny.phi3(), {"*.0.*qkv*": "keep", "re:.*qkv_proj": "nf4g32", "*.mlp.*": "rtn:int8", "*": "rtn:int4g32"})
    made = schemes_of(model)
    assert made["model.layers.0.self_attn.qkv_proj"] == "keep"
    assert made["model.layers.1.self_attn.qkv_proj"] == "nf4g32"
    assert made["model.layers.1.mlp.gate_up_proj"] == "rtn:int8"
    assert made["model.layers.0.self_attn.o_proj"] == "rtn:int4g32"
    assert made["lm_head"] == made["model.embed_tokens"] == "keep"


def test_embeddings_and_head_take_a_scheme_by_rule() -> None:
    model = quantize(tiny.phi3(), {"lm_head": "rtn:int8", "*embed_tokens": "nf4g32", "*": "keep"})
    assert quantized_names(model) == {"lm_head", "model.embed_tokens"}
    assert isinstance(model.get_input_embeddings(), QuantizedEmbedding)
    assert tiny.output(model, tiny.tokens()).isfinite().all()


def test_skip_goes_before_every_rule() -> None:
    model = quantize(tiny.llama(), "rtn:int8", skip=("*.0.*", "*down_proj"))
    assert all(".1." in name and "down_proj" not in name for name in quantized_names(model))
    assert {d.why for d in plan_of(model).decisions if d.name.startswith("model.layers.0")} == {"rule *.0.*"}


def test_coverage_counts_the_parameters() -> None:
    original = tiny.llama()
    total = sum(p.numel() for p in original.parameters())
    body = sum(m.weight.numel() for n, m in original.named_modules() if isinstance(m, nn.Linear) and n != "lm_head")
    plan = resolve(original, Plan.of("rtn:int8"))
    assert (plan.total_params, plan.quantized_params, plan.coverage) == (total, body, body / total)
    everything = resolve(original, Plan.of({"re:.*": "rtn:int8"}))
    assert everything.quantized_params == body + tiny.VOCABULARY * 64  # the tied head counts once


def test_every_decision_is_recorded_in_order() -> None:
    model = tiny.vit()
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    plan = plan_of(quantize(model, "rtn:int8"))
    assert [d.name for d in plan.decisions] == layers
    assert {d.kind for d in plan.decisions} == {"Linear", "Conv2d"}


def test_resolving_changes_nothing_and_needs_no_weights() -> None:
    model = tiny.gpt2()
    before = fingerprint(model)
    plan = resolve(model, Plan.of("rtn:uint4g32"))
    assert unchanged(model, before)
    with torch.device("meta"):
        assert resolve(tiny.gpt2(), Plan.of("rtn:uint4g32")) == plan


def test_training_mode_dtype_and_bias_are_kept() -> None:
    model = tiny.cnn().to(torch.bfloat16).train()
    bias = model[0].bias
    quantize(model, "rtn:int8")
    assert model[0].training
    assert model[0].bias is bias
    assert tiny.output(model, tiny.images(16).to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_float_type(dtype: torch.dtype) -> None:
    """Quantizing is done in f32: a bf16 model gives what its f32 copy gives."""
    model = tiny.cnn().to(dtype)
    upcast = copy.deepcopy(model).float()
    first, second = quantize(model, "rtn:uint4g9", on_misfit="channel"), quantize(upcast, "rtn:uint4g9", on_misfit="channel")
    for name in quantized_names(first):
        assert torch.equal(first.get_submodule(name).dequantize(), second.get_submodule(name).dequantize())


def test_a_plan_that_met_one_model_can_meet_another() -> None:
    first = quantize(tiny.cnn(), "rtn:int4g16", on_misfit="channel")
    second = quantize(tiny.cnn(), plan_of(first))
    assert plan_of(second) == plan_of(first)
    third = quantize(tiny.gpt2(), plan_of(first))
    assert plan_of(third).decisions[0].kind == "Embedding"


@pytest.mark.parametrize("name", ["llama", "gpt2", "mobilenet", "tied"])
def test_rebuilding_makes_room_for_exactly_what_was_stored(name: str) -> None:
    make, inputs = tiny.MODELS[name]
    rules = {"*embed*": "nf4", "*wte": "nf4", "*": "rtn:uint3z"}
    model = make()
    names = [n for n, _ in model.named_modules()]
    present = {k: s for k, s in rules.items() if k == "*" or any(n.endswith(k.strip("*")) or k.strip("*") in n for n in names)}
    quantize(model, present)
    other = rebuild(make(), plan_of(model))
    other.load_state_dict(model.state_dict())
    assert torch.equal(tiny.output(other, inputs()), tiny.output(model, inputs()))
    assert plan_of(other) == plan_of(model)


def test_rebuilding_another_model_is_refused() -> None:
    plan = plan_of(quantize(tiny.gpt2(), "rtn:int8"))
    with pytest.raises(FewbitsError, match=r"layer transformer\.h\.0\.attn\.c_attn: the model has none of that name"):
        rebuild(tiny.llama(), plan)
    relu = nn.Sequential(nn.ReLU())
    lone = resolve(nn.Sequential(nn.Linear(4, 4)), Plan.of("nf4"))
    with pytest.raises(FewbitsError, match="layer 0: a ReLU cannot be quantized"):
        rebuild(relu, lone)


def test_a_quantized_model_copies_whole() -> None:
    model = quantize(tiny.llama(), {"lm_head": "rtn:int8", "*": "rtn:uint4g32"})
    twin, x = copy.deepcopy(model), tiny.tokens()
    answer = tiny.output(model, x)
    assert torch.equal(tiny.output(twin, x), answer)
    for buffer in model.buffers():
        buffer.zero_()
    assert torch.equal(tiny.output(twin, x), answer)
    assert plan_of(twin) == plan_of(model)

"""What quantizing refuses, by the layer's name and with nothing changed; and what it does with misfits and tied weights."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from fewbits import plan_of, quantize
from fewbits.errors import FewbitsError, MisfitError
from fewbits.runtime import cpu
from fewbits.scheme import Scheme
from tests import tiny
from tests.applied import fingerprint, quantized_names, schemes_of, unchanged


def test_a_group_that_does_not_divide_is_refused_by_the_layers_name() -> None:
    model = tiny.cnn()
    before = fingerprint(model)
    with pytest.raises(MisfitError, match=r"layer 0: groups of 4 do not divide its 27 inputs: take no group at all \(int4\)"):
        quantize(model, "rtn:int4g4")
    assert unchanged(model, before)


def test_misfits_are_kept_or_get_a_scale_per_channel_and_it_is_recorded() -> None:
    kept = quantize(tiny.cnn(), "rtn:int4g16", on_misfit="keep")
    assert schemes_of(kept) == {"0": "keep", "2": "keep", "3": "keep", "7": "rtn:int4g16"}
    why = "rule *; groups of 16 do not divide its 27 inputs"
    assert plan_of(kept).decisions[0].why == why
    assert isinstance(kept[0], nn.Conv2d)
    channel = quantize(tiny.cnn(), "rtn:int4g16/q8", on_misfit="channel")
    assert schemes_of(channel) == {"0": "rtn:int4/q8", "2": "rtn:int4/q8", "3": "rtn:int4/q8", "7": "rtn:int4g16/q8"}
    assert plan_of(channel).decisions[0].why == why
    assert str(channel[0].scheme) == "rtn:int4/q8"


def test_groups_along_outputs_misfit_too() -> None:
    with pytest.raises(MisfitError, match="layer 7: groups of 16 do not divide its 10 outputs: groups of 2 do"):
        quantize(tiny.cnn(), "rtn:int4g16o")
    channel = quantize(tiny.cnn(), "rtn:int4g16o", on_misfit="channel")
    assert schemes_of(channel)["7"] == "rtn:int4"


def test_if_every_layer_is_a_misfit_there_is_nothing_to_do() -> None:
    model = tiny.cnn()
    before = fingerprint(model)
    with pytest.raises(FewbitsError, match="nothing to quantize: every layer is kept"):
        quantize(model, "rtn:int4g7", on_misfit="keep")
    assert unchanged(model, before)


def test_tied_weights_are_stored_once_and_take_one_scheme() -> None:
    model = quantize(tiny.tied(), {"*embed": "rtn:int8", "first": "nf4", "second": "nf4"})
    decisions = {d.name: d for d in plan_of(model).decisions}
    assert (decisions["lm_head"].tied_to, decisions["lm_head"].why) == ("embed", "tied to embed")
    assert (decisions["second"].tied_to, decisions["first"].tied_to) == ("first", None)
    assert {k.rpartition(".")[0] for k in model.state_dict() if k.endswith("codes")} == {"embed", "first"}
    ids = tiny.tokens()
    with cpu.enabled(False):
        hidden = torch.relu(model.first(model.embed(ids)))
        expected = model.second(hidden) @ model.embed.dequantize().T
        assert torch.allclose(tiny.output(model, ids), expected, rtol=1e-5, atol=1e-5)
    assert model.second.bias is not model.first.bias


def test_a_rule_for_the_head_alone_quantizes_the_embedding_that_is_tied_to_it() -> None:
    model = quantize(tiny.llama(), {"lm_head": "rtn:int8", "*": "keep"})
    decisions = {d.name: d for d in plan_of(model).decisions}
    assert decisions["model.embed_tokens"].scheme == Scheme.parse("rtn:int8")
    assert decisions["model.embed_tokens"].why == "tied to lm_head"
    assert decisions["lm_head"].tied_to == "model.embed_tokens"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (
            {"embed": "rtn:int8", "lm_head": "nf4"},
            "layer lm_head: shares its weight with embed, so both take one scheme, not rtn:int8 and nf4",
        ),
        (
            {"first": "rtn:int8", "*": "keep"},
            "layer second: kept by rule *, but it shares its weight with first, which takes rtn:int8",
        ),
        ({"lm_head": "keep", "embed": "nf4"}, "layer lm_head: kept by rule lm_head, but it shares its weight with embed"),
    ],
)
def test_tied_weights_under_two_schemes_are_refused(rules: dict[str, str], says: str) -> None:
    model = tiny.tied()
    before = fingerprint(model)
    with pytest.raises(FewbitsError, match=re.escape(says)):
        quantize(model, rules)
    assert unchanged(model, before)


def test_one_layer_in_two_places_is_replaced_in_both() -> None:
    """T5 holds its embedding as `shared`, and again in its encoder and its decoder."""
    model = nn.Module()
    model.shared = nn.Embedding(12, 8)
    model.encoder = nn.Module()
    model.encoder.embed_tokens = model.shared
    model.block = nn.Sequential(nn.Linear(8, 8))
    model.again = model.block
    quantize(model, {"shared": "rtn:int8", "block.0": "nf4"})
    assert {n for n, _ in model.named_modules() if isinstance(model.get_submodule(n), nn.Linear | nn.Embedding)} == set()
    ids = torch.tensor([1, 2])
    assert torch.equal(model.encoder.embed_tokens(ids), model.shared(ids))
    assert model.again[0] is model.block[0]
    assert plan_of(model).total_params == 12 * 8 + 8 * 8 + 8
    assert plan_of(model).quantized_params == 12 * 8 + 8 * 8


@pytest.mark.parametrize(("value", "count"), [(float("nan"), 1), (float("inf"), 2), (-float("inf"), 3)])
def test_nan_and_infinity_are_named_by_layer_with_the_model_unchanged(value: float, count: int) -> None:
    model = tiny.cnn()
    with torch.no_grad():
        model[3].weight.view(-1)[:count] = value
    before = fingerprint(model)
    with pytest.raises(
        FewbitsError, match=f"layer 3: {count} of its 256 weights are NaN or infinite: mend the checkpoint, or --skip"
    ):
        quantize(model, "rtn:int8")
    assert unchanged(model, before)
    quantize(model, "rtn:int8", skip=("3",))
    assert quantized_names(model) == {"0", "2", "7"}


@pytest.mark.parametrize("scheme", ["rtn:int8", "rtn:uint4", "nf4", "fp8t"])
def test_scales_that_overflow_f16_are_named_by_layer(scheme: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        model[1].weight.mul_(1e9)
    with pytest.raises(FewbitsError, match=r"layer 1: its scale of .* overflows /f16 \(at most 65504\): use /bf16 or /f32"):
        quantize(copy.deepcopy(model), scheme)
    for meta in ("/bf16", "/f32", "/q8"):
        made = quantize(copy.deepcopy(model), scheme + meta)
        assert (made[1].dequantize() - model[1].weight).norm() < 0.3 * model[1].weight.norm()


@pytest.mark.parametrize(
    ("model", "plan", "says"),
    [
        (
            nn.Sequential(nn.ReLU()),
            "rtn:int8",
            "nothing to quantize: the model has no Linear, Conv2d, Conv1D or Embedding layer",
        ),
        (nn.Sequential(nn.Embedding(4, 4)), "rtn:int8", "nothing to quantize: every layer is kept (embedding)"),
        (nn.Sequential(nn.Linear(4, 4)), {}, "nothing to quantize: the plan has no rules"),
        (
            nn.Sequential(nn.Linear(4, 4)),
            {"*attn*": "nf4"},
            "rule '*attn*=nf4' matches no layer: is the plan for another model?",
        ),
        (nn.Sequential(nn.Linear(4, 4)), {"re:.*head": "keep", "*": "nf4"}, "rule 're:.*head=keep' matches no layer"),
        (nn.Sequential(nn.Linear(4, 4)), {"0": "keep", "*": "nf4"}, "nothing to quantize: every layer is kept (rule 0)"),
        (nn.Sequential(nn.Linear(4, 4)), "rtn:uint99", "uint has no 99 bits"),
        (nn.Sequential(nn.Linear(4, 4)), "rtn:nf4", "layer 0: rtn cannot make nf4: it makes uint, int"),
        (nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 1)), "rtn:int8a8", "layer 1: rtn:int8a8: 'a8' is offered for linear"),
        (nn.Sequential(nn.Embedding(4, 4, max_norm=1.0)), {"0": "nf4"}, "layer 0: an embedding with max_norm"),
        (nn.Linear(4, 4, device="meta"), "nf4", "layer (the model itself): its weights are not loaded (meta device)"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(model: nn.Module, plan: object, says: str) -> None:
    with pytest.raises(FewbitsError) as caught:
        quantize(model, plan)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not quantized_names(model)


def test_names_of_layers_are_shown_where_a_rule_matches_none() -> None:
    with pytest.raises(FewbitsError, match=r"Layers here: model\.embed_tokens, model\.layers\.\d"):
        quantize(tiny.llama(), {"transformer.h.*": "nf4"})


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_layer_is_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(0, 4))
    for plan in ("rtn:int8", "rtn:int8g4", "nf4t"):
        with pytest.raises(FewbitsError, match="layer 1: a weight of 4 x 0 has nothing to quantize"):
            quantize(model, plan, on_misfit="channel")
    assert not quantized_names(model)


def test_quantizing_twice_is_refused() -> None:
    model = quantize(tiny.cnn(), "rtn:int8")
    before = {k: t.clone() for k, t in model.state_dict().items()}
    with pytest.raises(FewbitsError, match="this model is quantized already: start from the original"):
        quantize(model, "nf4")
    assert all(torch.equal(model.state_dict()[k], t) for k, t in before.items())
    assert str(plan_of(model)) == "rtn:int8"


def test_a_weight_that_is_computed_at_each_call_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    with pytest.raises(FewbitsError, match=r"layer 0: its weight or bias is computed at each call"):
        quantize(model, "rtn:int8")
    quantize(model, "rtn:int8", skip=("0",))
    assert quantized_names(model) == {"1"}


def test_keep_changes_nothing_and_says_so() -> None:
    model = tiny.cnn()
    before = fingerprint(model)
    quantize(model, "keep")
    assert {d.why for d in plan_of(model).decisions} == {"rule *"}
    assert plan_of(model).coverage == 0
    assert all(torch.equal(model.state_dict()[k], t) for k, t in before.items())


def test_adapters_of_peft_are_to_be_merged_first() -> None:
    model = tiny.llama()
    model._hf_peft_config_loaded = True
    with pytest.raises(FewbitsError, match="this model: has an adapter of PEFT: merge it first"):
        quantize(model, "rtn:int8")
    wrapped = type("LoraLinear", (nn.Module,), {"__module__": "peft.tuners.lora"})()
    with pytest.raises(FewbitsError, match="layer 1: has an adapter of PEFT"):
        quantize(nn.Sequential(nn.Linear(8, 8), wrapped), "rtn:int8")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.complex64])
def test_weights_of_other_dtypes_are_named_by_layer(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = nn.Parameter(torch.ones(8, 8).to(dtype), requires_grad=False)
    with pytest.raises(FewbitsError, match=rf"layer 1: its weight is {str(dtype).removeprefix('torch.')}: only float32"):
        quantize(model, "rtn:int8")
    assert quantized_names(model) == set()
    quantize(model, "rtn:int8", skip=("1",))


def test_layers_of_no_rows_or_columns_and_views_are_refused_or_right() -> None:
    for rows, cols in ((0, 8), (8, 0)):
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        model[1].weight = nn.Parameter(torch.empty(rows, cols))
        with pytest.raises(FewbitsError, match=f"layer 1: a weight of {rows} x {cols} has nothing to quantize"):
            quantize(model, "rtn:int8")
    for view in (torch.randn(1, 8).expand(8, 8), torch.randn(8, 8).T, torch.randn(16, 16)[::2, ::2]):
        layer = nn.Linear(8, 8)
        layer.weight = nn.Parameter(view)
        made = quantize(nn.Sequential(layer), "rtn:uint4/f32")[0]
        assert torch.equal(made.dequantize(), Scheme.parse("rtn:uint4/f32").quantize(view.contiguous()).dequantize())

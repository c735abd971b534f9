"""Predictions: which bytes a token costs, and what is said beside what is measured."""

import pytest
import torch

import fewbits
from fewbits.doctor.limits import measure_limits
from fewbits.doctor.predict import Speeds, _extended, bytes_per_token, check, plain_plan, predict
from fewbits.doctor.sample import Cut
from fewbits.errors import FewbitsError
from fewbits.measure.size import skeleton
from fewbits.measure.speed import Timing
from fewbits.plan import Plan
from tests.measure.tiny import tiny_llama

ONCE = Timing(repeats=1, warmup=0)


def test_bytes_of_a_token_leave_out_the_embeddings_unless_the_head_shares_them() -> None:
    tied, apart = tiny_llama(tie_word_embeddings=True), tiny_llama(tie_word_embeddings=False)
    assert bytes_per_token(tied, 4) == bytes_per_token(apart, 4) == 4 * sum(p.numel() for p in tied.parameters())
    assert sum(p.numel() for p in apart.parameters()) > sum(p.numel() for p in tied.parameters())


def test_bytes_of_a_quantized_layer_are_those_stored() -> None:
    plain = tiny_llama()
    before = bytes_per_token(plain, 4)
    fewbits.quantize(plain, {"model.layers.0.mlp.up_proj": "int8", "*": "keep"})
    layer = plain.model.layers[0].mlp.up_proj
    assert before - bytes_per_token(plain, 4) == layer.in_features * layer.out_features * 4 - layer.quantized.nbytes


def test_missing_blocks_are_added_in_seconds() -> None:
    runs = [Speeds(read=1 / 3, write=1 / 5, load=2.0), Speeds(read=1 / 2, write=1 / 4, load=1.0)]
    got = _extended(Cut(blocks=6, samples=(4, 2)), runs)
    assert (1 / got.read, 1 / got.write, got.load) == pytest.approx((4, 6, 3))


def test_predictions_stand_beside_what_is_measured() -> None:
    bare = skeleton(tiny_llama(intermediate_size=64))
    plans = [Plan.of("hqq:uint4g32"), Plan.of("int8")]
    made = predict(bare, plans, measure_limits(), ONCE)
    assert [str(p.plan) if p.plan else None for p in made] == [None, "hqq:uint4g32", "rtn:int8"]
    assert all(p.predicted.read > 0 and p.predicted.write > 0 and p.measured is None for p in made)
    assert made[0].predicted.load is None and made[1].predicted.load is not None
    assert made[1].bytes_per_token < made[0].bytes_per_token and made[1].size < made[0].size
    checked = check(tiny_llama(intermediate_size=64), made, ONCE)
    assert all(c.measured is not None and c.predicted == p.predicted for c, p in zip(checked, made, strict=True))


def test_timing_takes_the_quickest_method_of_a_format() -> None:
    plan = plain_plan(Plan.of({"*up*": "hqq:uint4g32", "*down*": "keep", "*": "mse:nf4g64"}))
    assert [str(r.scheme) for r in plan.rules] == ["rtn:uint4g32", "None", "nf4g64"]


def test_a_plan_that_does_not_fit() -> None:
    with pytest.raises(FewbitsError, match="48"):
        predict(skeleton(tiny_llama()), [Plan.of("uint4g48")], measure_limits(), ONCE)


def test_dtype_is_left_as_it_was() -> None:
    model = tiny_llama().to(torch.bfloat16)
    made = predict(skeleton(model), [], measure_limits(), ONCE)
    check(model, made, ONCE)
    assert model.dtype == torch.bfloat16

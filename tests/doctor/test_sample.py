"""Samples of a model: the blocks that are left out are told by the difference of two samples."""

from types import SimpleNamespace

import pytest
from torch import nn

import fewbits
from fewbits.doctor.sample import Cut, cut_of, sample, twin
from fewbits.errors import FewbitsError
from tests.measure.tiny import TinyLM, tiny_llama


def test_time_of_the_missing_blocks() -> None:
    assert Cut(blocks=8, samples=(8,)).extend([3.0]) == 3.0
    assert Cut(blocks=16, samples=(4, 2)).extend([5.0, 3.0]) == 5 + 12 * 1.0
    assert Cut(blocks=16, samples=(4, 2)).extend([2.0, 3.0]) == 2.0  # noise: blocks take no negative time


def test_a_small_model_is_its_own_sample() -> None:
    assert cut_of(tiny_llama()) == Cut(blocks=2, samples=(2,))


def test_a_large_model_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewbits.doctor.sample.cache_bytes", lambda: 1 << 10)
    assert cut_of(tiny_llama(num_hidden_layers=6)) == Cut(blocks=6, samples=(3, 1))
    assert cut_of(tiny_llama(num_hidden_layers=16)) == Cut(blocks=16, samples=(8, 2))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1 << 10))
    assert cut_of(tiny_llama(num_hidden_layers=16)) == Cut(blocks=16, samples=(2, 1))
    with pytest.raises(FewbitsError, match="num_hidden_layers"):
        cut_of(TinyLM())


def test_a_sample_has_the_shapes_of_the_model() -> None:
    bare, made = tiny_llama(num_hidden_layers=6), sample(tiny_llama(num_hidden_layers=6), 2)
    names = {n: p.shape for n, p in bare.named_parameters() if ".layers." not in n or n.split(".")[2] in "01"}
    assert {n: p.shape for n, p in made.named_parameters()} == names
    assert bare.config.num_hidden_layers == 6 and made.lm_head.weight is made.model.embed_tokens.weight


def test_a_twin_shares_what_is_kept() -> None:
    model = tiny_llama()
    other = fewbits.quantize(twin(model), "rtn:int8")
    assert type(model.model.layers[0].mlp.up_proj) is nn.Linear
    assert other.model.embed_tokens.weight is model.model.embed_tokens.weight

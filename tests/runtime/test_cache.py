"""The names of a cache in every release of transformers that is supported."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fewbits.runtime.cache import cache_argument, cache_of, cache_tensors
from tests import tiny


class _Old(nn.Module):
    def forward(self, input_ids: Any, past_key_values: Any = None, use_cache: bool = False) -> Any: ...


class _New(nn.Module):
    def forward(self, input_ids: Any, cache: Any = None, use_cache: bool = False) -> Any: ...


class _Mamba(nn.Module):
    def forward(self, input_ids: Any, cache_params: Any = None) -> Any: ...


@pytest.mark.parametrize(
    ("model", "name"), [(_Old(), "past_key_values"), (_New(), "cache"), (_Mamba(), "cache_params"), (nn.Linear(2, 2), None)]
)
def test_the_argument_of_each_release_is_found(model: nn.Module, name: str | None) -> None:
    assert cache_argument(model) == name


@pytest.mark.parametrize("name", ["past_key_values", "cache", "cache_params", "state"])
def test_the_output_of_each_release_is_read(name: str) -> None:
    kept = object()
    assert cache_of(SimpleNamespace(**{name: kept})) is kept


def test_a_tensor_has_no_cache() -> None:
    assert cache_of(torch.zeros(2)) is None


def test_the_cache_of_the_installed_release_is_found() -> None:
    model = tiny.llama()
    assert cache_argument(model) is not None
    cache = cache_of(model(tiny.tokens(2, 5), use_cache=True))
    assert sorted(tuple(t.shape) for t in cache_tensors(cache)) == [(2, 2, 5, 16)] * 4

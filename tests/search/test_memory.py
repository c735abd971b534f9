import pytest
import torch

from fewbits.errors import FewbitsError
from fewbits.search.memory import cache_bytes
from tests import tiny


@pytest.mark.parametrize(("make", "heads"), [(tiny.llama, 2), (tiny.gpt2, 4)])
def test_the_cache_is_that_which_transformers_makes(make: object, heads: int) -> None:
    model = make()  # type: ignore[operator]
    assert cache_bytes(model, batch=3, context=40) == 3 * 40 * 2 * 2 * heads * 16 * 4  # layers, keys and values, width, f32
    assert cache_bytes(model.to(torch.bfloat16), batch=3, context=40) == 3 * 40 * 2 * 2 * heads * 16 * 2


def test_refusals() -> None:
    with pytest.raises(FewbitsError, match="64 positions"):
        cache_bytes(tiny.llama(), batch=1, context=100)
    with pytest.raises(FewbitsError, match="KV cache"):
        cache_bytes(tiny.cnn(), batch=1, context=10)

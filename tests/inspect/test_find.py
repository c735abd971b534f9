import pytest

from fewbits.errors import FewbitsError
from fewbits.inspect.find import find_layer, layer_names
from tests import tiny

Q0 = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def names() -> list[str]:
    return layer_names(tiny.llama())


def test_by_name_and_by_a_glob_that_matches_one(names: list[str]) -> None:
    model = tiny.llama()
    assert find_layer(model, Q0) == Q0 and Q0 in names
    assert find_layer(model, "*.0.*q_proj") == Q0
    assert find_layer(model, "lm_head") == "lm_head"


def test_several(names: list[str]) -> None:
    with pytest.raises(FewbitsError, match=rf"'\*q_proj' matches 2 layers: {Q0}, model.layers.1.self_attn.q_proj; name one"):
        find_layer(tiny.llama(), "*q_proj")


def test_none_tells_what_is_near() -> None:
    model = tiny.llama()
    with pytest.raises(FewbitsError, match=f"no layer 'model.layers.0.self_attn.qproj'; did you mean '{Q0}'"):
        find_layer(model, "model.layers.0.self_attn.qproj")
    with pytest.raises(FewbitsError, match=r"no layer 'down_proj'; did you mean 'model\.layers\.0\.mlp\.down_proj'"):
        find_layer(model, "down_proj")
    with pytest.raises(FewbitsError, match=r"no layer 'zzz'; there are model\.embed_tokens, .* and \d+ more"):
        find_layer(model, "zzz")


def test_convolutions_too() -> None:
    assert find_layer(tiny.cnn(), "0") == "0"

"""Quality is measured in the exact arithmetic, unless the kernels are asked for; speed is what runs."""

import pytest
import torch
from torch import nn

import fewbits
from fewbits.measure import accuracy, perplexity, text_divergence
from fewbits.measure.arithmetic import compared, with_kernels
from fewbits.runtime import cpu
from tests.measure.tiny import tiny_llama

pytestmark = pytest.mark.skipif(not cpu.available(), reason=str(cpu.why_not()))

TEXT = torch.randint(64, (200,), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    return fewbits.quantize(tiny_llama(), "rtn:uint4g32", on_misfit="keep")


def test_perplexity_does_not_depend_on_the_kernels(model: nn.Module) -> None:
    on = perplexity(model, TEXT, "windows:32")
    with cpu.enabled(False):
        off = perplexity(model, TEXT, "windows:32")
    assert on == off and on.parts["arithmetic"] == "exact" and on.protocol == "plain:32"
    with with_kernels():
        rounded = perplexity(model, TEXT, "windows:32")
    assert rounded.value != on.value and rounded.value == pytest.approx(on.value, rel=0.01)
    assert (rounded.protocol, rounded.parts["arithmetic"]) == ("plain:32, on the CPU kernels", "kernels")


def test_divergence_of_the_kernels_from_the_weights(model: nn.Module) -> None:
    """The reference is never rounded, so a model against itself shows what the kernels do, and that alone."""
    assert text_divergence(model, model, TEXT, "windows:32").kl.value == 0
    with with_kernels():
        assert 0 < text_divergence(model, model, TEXT, "windows:32").kl.value < 1e-3
        with cpu.enabled(False):
            off = text_divergence(model, model, TEXT, "windows:32").kl
    assert off.value == 0 and off.parts["arithmetic"] == "exact"


def test_a_classifier() -> None:
    torch.manual_seed(0)
    model = fewbits.quantize(nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 3)).eval(), {"*": "int4g32"})
    batches = [(torch.randn(5, 64), torch.arange(5) % 3)]
    assert accuracy(model, batches).parts["arithmetic"] == "exact"
    with with_kernels():
        assert accuracy(model, batches).protocol == "images, on the CPU kernels"


def test_how_far_the_kernels_are_from_the_exact_answers(model: nn.Module) -> None:
    plain = tiny_llama()
    with compared() as found:
        perplexity(model, TEXT, "windows:32")
        perplexity(plain, TEXT, "windows:32")
    assert set(found) == {id(model)} and 0 < found[id(model)] < 1e-3
    with compared() as found, with_kernels():
        perplexity(model, TEXT, "windows:32")
    assert not found

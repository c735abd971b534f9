"""Which arithmetic quality is measured in.

The CPU kernels round activations to 8 bits inside, and how they do it depends on the machine. What perplexity, accuracy and
divergence are to tell is about the weights, so they are measured in the exact arithmetic: layers are dequantized and multiplied
by PyTorch. Within `with_kernels()` they are measured as the model runs here, the rounding counted in; a reference never is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer, QuantizedLinear
from fewbits.measure.running import ask, dtype_name
from fewbits.runtime import cpu, dispatch

_kernels = False
_compared: dict[int, float] | None = None


@contextmanager
def with_kernels(wanted: bool = True) -> Iterator[None]:
    """Within: measures of quality let the model run as it does here, on the CPU kernels where they can."""
    global _kernels
    before, _kernels = _kernels, wanted
    try:
        yield
    finally:
        _kernels = before


def parts(model: nn.Module) -> dict[str, str]:
    """What every measure of quality tells of its arithmetic: `dtype`, and `arithmetic`, which is `exact` or `kernels`."""
    return {"dtype": dtype_name(model), "arithmetic": "kernels" if _takes_part() else "exact"}


def named(protocol: str) -> str:
    """The protocol, and that kernels took part where they did: such a figure belongs to this kind of machine."""
    return f"{protocol}, on the CPU kernels" if _takes_part() else protocol


def answers_of(models: Sequence[nn.Module], inputs: Shaped[Tensor, "b ..."]) -> list[Float[Tensor, "b ..."]]:
    """The logits of a model and of those that it is held against."""
    with nullcontext() if _kernels else cpu.enabled(False):
        first = ask(models[0], inputs)
    if _compared is not None and not _kernels:
        _compare(_compared, models[0], inputs, first)
    with cpu.enabled(False):
        return [first, *(ask(model, inputs) for model in models[1:])]


@contextmanager
def compared() -> Iterator[dict[int, float]]:
    """Within: how far a quantized model's answers on the CPU kernels are from its exact ones.

    Yields a dictionary from `id(model)` to KL(exact || kernels) in nats, of the first input of the first batch that the model
    is asked. It is filled while models are measured in the exact arithmetic.
    """
    global _compared
    before, _compared = _compared, {}
    try:
        yield _compared
    finally:
        _compared = before


def _compare(found: dict[int, float], model: nn.Module, inputs: Tensor, exact: Tensor) -> None:
    if id(model) in found or not cpu.running() or not any(isinstance(m, QuantizedLinear) for m in model.modules()):
        return
    layers = [module for module in model.modules() if isinstance(module, QuantizedLayer)]
    was_packed = cpu.packed_bytes(model) > 0
    want = exact[:1].float().log_softmax(-1)
    got = ask(model, inputs[:1]).float().log_softmax(-1)
    for layer in layers if not was_packed else ():  # a rearranged copy of each weight would stay through the measurement
        dispatch.forget(layer)
    found[id(model)] = (want.exp() * (want - got)).sum(-1).mean().item()


def _takes_part() -> bool:
    return _kernels and cpu.running()

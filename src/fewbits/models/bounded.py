"""Bounds on the building of a model: a configuration may describe more than its folder holds, and more than fits in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from fewbits.errors import FewbitsError

MOST_UNSEEN = 200_000  # parameters and buffers of a model whose weights are not looked at; the largest have 100,000
_SLACK = 4096  # registrations beyond those of stored tensors: modules are replaced, and buffers are not stored
_SPARE = 2**26  # numbers on the meta device beyond those that are stored


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a model may have: `tensors` registered, and `numbers` in those on the meta device."""

    tensors: int
    numbers: int

    @classmethod
    def of_files(cls, tensors: int, nbytes: int) -> "Bound":
        """For a model whose weight files hold so many tensors and bytes.

        A tensor is registered when it is made, when its layer is replaced and when it is filled; a byte holds at most 8
        codes, and tied weights are made twice.
        """
        return cls(tensors=8 * tensors + _SLACK, numbers=24 * nbytes + _SPARE)


UNSEEN = Bound(tensors=MOST_UNSEEN, numbers=2**45)


@contextmanager
def bounded(bound: Bound) -> Iterator[None]:
    """Stop the building of a model in this thread when it passes a bound.

    Raises:
        FewbitsError: More is built than the bound allows.
    """
    here = threading.get_ident()
    tensors = numbers = 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal tensors, numbers
        if tensor is None or threading.get_ident() != here:
            return
        tensors += 1
        numbers += tensor.numel() if tensor.is_meta else 0
        if tensors > bound.tensors or numbers > bound.numbers:
            raise FewbitsError(
                f"config.json describes a model of more than {tensors if tensors > bound.tensors else numbers}"
                f" {'tensors' if tensors > bound.tensors else 'numbers'}, far more than its weight files hold: do they go"
                " together?"
            )

    handles = hooks.register_module_parameter_registration_hook(count), hooks.register_module_buffer_registration_hook(count)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

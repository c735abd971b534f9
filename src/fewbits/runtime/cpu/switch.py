"""Whether the dispatcher asks the kernels: it does from the start, unless FEWBITS_KERNELS=0 is in the environment."""

from collections.abc import Iterator
from contextlib import contextmanager

from fewbits.errors import FewbitsError
from fewbits.runtime import dispatch
from fewbits.runtime.cpu.library import why_not


def enable(wanted: bool = True) -> None:
    """Let quantized layers on the CPU use the kernels from now on, or no longer. Raises FewbitsError where they cannot run.

    Where they are off, layers are dequantized when they are used: slower, and exact.
    """
    problem = why_not()
    if wanted and problem is not None:
        raise FewbitsError(problem)
    others = tuple(name for name in dispatch.KERNELS["cpu"] if name != dispatch.CPU)
    dispatch.KERNELS["cpu"] = (dispatch.CPU, *others) if wanted else others


def running() -> bool:
    """Whether quantized layers on the CPU use the kernels now."""
    return dispatch.CPU in dispatch.KERNELS["cpu"] and why_not() is None


@contextmanager
def enabled(wanted: bool = True) -> Iterator[None]:
    """The same for a while."""
    before = dispatch.KERNELS["cpu"]
    enable(wanted)
    try:
        yield
    finally:
        dispatch.KERNELS["cpu"] = before

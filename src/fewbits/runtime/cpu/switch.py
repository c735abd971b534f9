"""Whether the dispatcher asks the kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

from fewbits.errors import FewbitsError
from fewbits.runtime import dispatch
from fewbits.runtime.cpu.library import why_not

MODULE = "fewbits.runtime.cpu"


def enable(wanted: bool = True) -> None:
    """Let quantized layers on the CPU use the kernels from now on, or no longer. Raises FewbitsError where they cannot run."""
    problem = why_not()
    if wanted and problem is not None:
        raise FewbitsError(problem)
    others = tuple(name for name in dispatch.KERNELS["cpu"] if name != MODULE)
    dispatch.KERNELS["cpu"] = (MODULE, *others) if wanted else others


@contextmanager
def enabled(wanted: bool = True) -> Iterator[None]:
    """The same for a while."""
    before = dispatch.KERNELS["cpu"]
    enable(wanted)
    try:
        yield
    finally:
        dispatch.KERNELS["cpu"] = before

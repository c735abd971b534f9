"""The compiled kernels: a shared library beside this file, built from `native/` when the package is installed.

It knows nothing of PyTorch and is called through ctypes, so one build serves every version of Python and PyTorch.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from fewbits.errors import FewbitsError

LIBRARY = Path(__file__).with_name("libfewbits_cpu.so")
Level = Literal["none", "avx2", "avxvnni", "avx512", "amx"]
LEVELS: tuple[Level, ...] = get_args(Level)  # in the order of the library's numbers
F32, F16, BF16, U8, NONE = range(5)  # how it names the types of numbers
DONE, NO_KERNEL, OUT_OF_MEMORY, NO_SUCH_ROW, BAD_ARGUMENT = range(5)  # what its functions return


class Weight(ctypes.Structure):
    """One weight, as the library sees it (native/fewbits.h)."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("rows", "cols", "padded", "bits", "group", "block", "scale_type", "zero_type")),
        ("zero_value", ctypes.c_float),
        ("is_codebook", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("codes", "scale", "zero")),
        *((name, ctypes.c_int64) for name in ("scale_stride", "zero_stride", "gap")),
        ("high", ctypes.c_uint8 * 16),
        ("low", ctypes.c_uint8 * 16),
        ("values", ctypes.c_float * 16),
        ("peak", ctypes.c_float),
        ("byte", ctypes.c_uint8 * 16),
        ("byte_step", ctypes.c_float),
        ("energy", ctypes.c_void_p),
    )


def available() -> bool:
    """Whether the kernels are there and this machine can run them."""
    return why_not() is None


@cache
def why_not() -> str | None:
    """Why the kernels cannot run here, in one line; None if they can."""
    if not LIBRARY.exists():
        return (
            "fewbits was installed without its CPU kernels (no C++ compiler was found, or not on x86-64 Linux):"
            " PyTorch's own operators are used; install g++ and fewbits again to have them"
        )
    try:
        best = load().fewbits_best_level()
    except (OSError, FewbitsError) as error:
        return f"the CPU kernels cannot be loaded ({error}): PyTorch's own operators are used; install fewbits again"
    return None if best else "this processor has no AVX2 with FMA: PyTorch's own operators are used"


@cache
def load() -> ctypes.CDLL:
    """The library. Raises OSError if it cannot be loaded, FewbitsError if it was built from other sources."""
    library = ctypes.CDLL(str(LIBRARY))
    pointer, long, integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    library.fewbits_weight_size.restype = long
    if library.fewbits_weight_size() != ctypes.sizeof(Weight):
        raise FewbitsError(f"{LIBRARY.name} was built from other sources")
    library.fewbits_linear.argtypes = [pointer, pointer, pointer, pointer, long, long, integer, integer, integer, integer]
    library.fewbits_energies.argtypes = [pointer, pointer, integer]
    library.fewbits_pack.argtypes = [pointer, pointer, long, long, long, integer, long, long, integer]
    library.fewbits_unpack.argtypes = [pointer, pointer, long, long, long, integer, long, long]
    library.fewbits_use_gomp.argtypes = [pointer]
    library.fewbits_read.argtypes, library.fewbits_read.restype = [pointer, long, integer], ctypes.c_uint64
    library.fewbits_use_gomp(_gomp())
    return library


def check(status: int, what: str) -> None:
    """Raise what a function of the library returned instead of DONE.

    Args:
        status: what it returned.
        what: what it was asked for, such as "a product of 3 x 64 activations".

    Raises:
        MemoryError: there was not enough.
        FewbitsError: the arguments were refused, or this machine has no kernel.
    """
    if status == OUT_OF_MEMORY:
        raise MemoryError(f"no memory for {what}")
    if status == NO_KERNEL:
        raise FewbitsError(why_not() or "the CPU kernels are switched to a level that this machine does not have")
    if status != DONE:
        raise FewbitsError(f"the CPU kernels refuse {what}: sizes, types or addresses do not fit each other")


def entry(name: str, *arguments: type, sizes: Mapping[str, type[ctypes.Structure]]) -> Any:
    """A function of the library that takes such arguments. `sizes`: the functions that tell its structures' sizes, and ours.

    Raises FewbitsError if the library was built from other sources.
    """
    library = load()
    for told_by, structure in sizes.items():
        tell = getattr(library, told_by, None)
        if tell is None:
            raise FewbitsError(f"{LIBRARY.name} was built from older sources")
        tell.restype = ctypes.c_int64
        if tell() != ctypes.sizeof(structure):
            raise FewbitsError(f"{LIBRARY.name} was built from other sources")
    function = getattr(library, name)
    function.argtypes = arguments
    return function


def _gomp() -> int | None:
    """The address of GOMP_parallel where PyTorch brought it into the process: its team of threads is then used."""
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except AttributeError:
        return None
    return ctypes.cast(function, ctypes.c_void_p).value


def level() -> Level:
    """The instructions that are used."""
    return LEVELS[load().fewbits_level()]


def set_level(wanted: Level | None) -> Level:
    """Use the instructions of a lower level, for tests and measurements; None: the best here. Returns what is used."""
    load().fewbits_set_level(-1 if wanted is None else LEVELS.index(wanted))
    return level()

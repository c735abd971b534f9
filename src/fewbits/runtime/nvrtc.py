"""CUDA C++ compiled at run time and launched, through the two libraries that a CUDA build of torch brings: NVRTC and the driver.

Compiled code is kept on disk by the content that made it (source, options, GPU, compiler), so that only the first process pays.
"""

import ctypes
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from fewbits import cache as cache_files
from fewbits.errors import FewbitsError

COOPERATIVE, OVERLAPPED = 2, 6  # CUlaunchAttributeID: all blocks resident; may start before the kernel before it has ended
Defines = tuple[tuple[str, int | float], ...]
_MAX_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class _Config(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    )


class _Attribute(ctypes.Structure):
    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int), ("rest", ctypes.c_int * 15))


@cache
def _marks(attributes: tuple[int, ...]) -> ctypes.Array[_Attribute]:
    return (_Attribute * max(1, len(attributes)))(*(_Attribute(id=a, value=1) for a in attributes))


@cache  # filling it in takes the host as long as launching
def _config(grid: int | tuple[int, int], block: int, shared: int, attributes: tuple[int, ...]) -> _Config:
    x, y = grid if isinstance(grid, tuple) else (grid, 1)
    marks = ctypes.addressof(_marks(attributes))
    return _Config(grid=(x, y, 1), block=(block, 1, 1), shared=shared, attributes=marks, count=len(attributes))


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A compiled function on the device that was current when it was loaded."""

    function: ctypes.c_void_p
    module: ctypes.c_void_p
    device: int
    keep: list[object] = field(default_factory=list)

    def launch(
        self,
        grid: int | tuple[int, int],
        block: int,
        argument: ctypes.Structure,
        *,
        shared: int = 0,
        attributes: Sequence[int] = (),
    ) -> None:
        """Launch on torch's current stream with one structure as the only parameter."""
        config = _Config.from_buffer_copy(_config(grid, block, shared, tuple(attributes)))
        config.stream = torch._C._cuda_getCurrentRawStream(
            self.device
        )  # as Triton asks: the public way takes ten times as long
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        _check(_driver().cuLaunchKernelEx(ctypes.byref(config), self.function, parameters, None), "a launch")

    def allow_shared(self, size: int) -> None:
        """Let a block have more shared memory than the 48 KiB that need no asking."""
        _check(_driver().cuFuncSetAttribute(self.function, _MAX_SHARED, size), "asking for shared memory")

    def write_constant(self, name: str, data: bytes) -> None:
        """Fill a `__constant__` array; waits for the device."""
        address, size = ctypes.c_void_p(), ctypes.c_size_t()
        _check(
            _driver().cuModuleGetGlobal_v2(ctypes.byref(address), ctypes.byref(size), self.module, name.encode()),
            f"finding {name}",
        )
        if len(data) > size.value:
            raise FewbitsError(f"{len(data)} bytes do not fit into the kernel's {name} of {size.value}")
        torch.cuda.synchronize()
        _check(_driver().cuMemcpyHtoD_v2(address, data, ctypes.c_size_t(len(data))), f"filling {name}")


@cache
def unavailable() -> str | None:
    """Why kernels in CUDA C++ cannot run here; None if they can."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    if torch.cuda.get_device_capability() < (9, 0):
        return "the GPU is older than Hopper (compute capability 9.0)"
    try:
        _nvrtc()
        _driver()
    except OSError as error:
        return f"a library is missing: {error}"
    return None


@cache  # torch's own answers take some microseconds each
def capability(device: int) -> tuple[int, int]:
    """Of a GPU: its generation."""
    return torch.cuda.get_device_capability(device)


@cache
def processors(device: int) -> int:
    """Multiprocessors of a GPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count


@cache
def load(name: str, sources: tuple[str, ...], defines: Defines, device: int, copy: int = 0) -> Kernel:
    """The function `name` of these files in `runtime/cuda`. `copy` tells apart modules that hold other constants."""
    torch.cuda.init()
    torch.zeros(1, device=f"cuda:{device}")  # makes torch's context this thread's, the one that modules are loaded into
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    with torch.cuda.device(device):
        code = _compiled(_source(sources), defines, torch.cuda.get_device_capability(device))
        _check(_driver().cuModuleLoadData(ctypes.byref(module), code), f"loading {name}")
        _check(_driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode()), f"finding {name}")
    return Kernel(function=function, module=module, device=device)


def encode_tensor_map(*arguments: object) -> None:
    """The driver's cuTensorMapEncodeTiled."""
    _check(_driver().cuTensorMapEncodeTiled(*arguments), "describing a matrix")


def _source(names: tuple[str, ...]) -> str:
    folder = files("fewbits.runtime") / "cuda"
    return "\n".join((folder / name).read_text() for name in names)


def _compiled(source: str, defines: Defines, capability: tuple[int, int]) -> bytes:
    arch = f"{capability[0]}{capability[1]}" + ("a" if capability[0] >= 9 else "")
    options = [f"--gpu-architecture=sm_{arch}", "--std=c++17", "-default-device", *(f"-D{k}={v}" for k, v in defines)]
    key = hashlib.sha256("\0".join([source, *options, _version()]).encode()).hexdigest()[:32]
    path = cache_files.folder(f"{key}.cubin")
    if (known := cache_files.read(path)) is not None:
        return known
    code = _compile(source, options)
    cache_files.write(path, code)
    return code


def _compile(source: str, options: list[str]) -> bytes:
    lib, program, size = _nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"fewbits.cu", 0, None, None), "NVRTC")
    given = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    result = lib.nvrtcCompileProgram(program, len(options), given)
    if result:
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, log)
        raise FewbitsError(f"a CUDA kernel does not compile here: {log.value.decode(errors='replace').splitlines()[:3]}")
    _check(lib.nvrtcGetCUBINSize(program, ctypes.byref(size)), "NVRTC")
    code = ctypes.create_string_buffer(size.value)
    _check(lib.nvrtcGetCUBIN(program, code), "NVRTC")
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw


def _version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "NVRTC")
    return f"{major.value}.{minor.value}"


@cache
def _nvrtc() -> ctypes.CDLL:
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    for place in sys.path:
        for found in sorted(Path(place).glob("nvidia/*/lib/libnvrtc.so.1[23]")):
            return ctypes.CDLL(str(found))
    raise OSError("libnvrtc")


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _check(result: int, what: str) -> None:
    if result:
        raise FewbitsError(f"CUDA error {result} in {what}")


def address(tensor: Tensor | None) -> int | None:
    """A tensor's address, for a structure of ctypes."""
    return None if tensor is None else tensor.data_ptr()

"""ggml's matrix product, through its C library: the plain layout, and each rearranged one that it has for this machine."""

import ctypes
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import torch

TYPES = {"q4_0": 2, "q8_0": 8, "q4_K": 12}
F32 = 0
QUIET = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)(lambda level, text, data: None)  # else it tells of every weight


class Init(ctypes.Structure):
    _fields_ = (("size", c_size_t), ("memory", c_void_p), ("no_alloc", c_bool))


class Ggml:
    """The library, and a CPU backend with a number of threads."""

    def __init__(self, folder: Path, threads: int) -> None:
        for name in ("base", "cpu"):
            ctypes.CDLL(str(folder / f"libggml-{name}.so"), ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(folder / "libggml.so"), ctypes.RTLD_GLOBAL)
        self.all = ctypes.CDLL(None)
        self.call("ggml_log_set", None, QUIET, None)
        self.backend = self.call("ggml_backend_cpu_init", c_void_p)
        self.call("ggml_backend_cpu_set_n_threads", None, c_void_p(self.backend), c_int(threads))

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self.all, name)
        function.restype = result
        return function(*arguments)

    def layouts(self) -> list[int]:
        """Kinds of buffers: the plain one, then those that rearrange."""
        device = c_void_p(self.call("ggml_backend_get_device", c_void_p, c_void_p(self.backend)))
        registry = c_void_p(self.call("ggml_backend_dev_backend_reg", c_void_p, device))
        where = self.call(
            "ggml_backend_reg_get_proc_address", c_void_p, registry, c_char_p(b"ggml_backend_dev_get_extra_bufts")
        )
        more = ctypes.CFUNCTYPE(POINTER(c_void_p), c_void_p)(where)(device)
        found = [self.call("ggml_backend_cpu_buffer_type", c_void_p)]
        i = 0
        while more[i]:
            found.append(more[i])
            i += 1
        return found

    def sides(self, kind: str, case: Any, x: torch.Tensor) -> Iterator[tuple[str, int, list[Callable[[], object]]]]:
        """Name, bytes of a weight, and a function for each copy, for each layout."""
        row_bytes = self.call("ggml_row_size", c_size_t, c_int(TYPES[kind]), c_int64(case.cols))
        data = ctypes.create_string_buffer(row_bytes * case.rows)
        weight = torch.randn(case.rows, case.cols)
        source = ctypes.cast(weight.data_ptr(), POINTER(c_float))
        sizes = c_int64(0), c_int64(case.rows), c_int64(case.cols)
        self.call("ggml_quantize_chunk", c_size_t, c_int(TYPES[kind]), source, data, *sizes, None)
        for layout in self.layouts():
            name = self.call("ggml_backend_buft_name", c_char_p, c_void_p(layout)).decode()
            if name == "AMX" and case.batch > 1:
                continue  # ggml 0.25.3 crashes here, alone in the process too
            runs = [self.graph(TYPES[kind], layout, data, case, x) for _ in range(case.copies(len(data)))]
            if all(runs):
                yield f"{kind} {name}", len(data), [run for run in runs if run]

    def graph(self, kind: int, layout: int, data: Any, case: Any, x: torch.Tensor) -> Callable[[], object] | None:
        """One product; None where the layout does not take the type."""
        context = c_void_p(self.call("ggml_init", c_void_p, Init(1 << 18, None, True)))
        sizes = c_int64(case.cols), c_int64(case.rows)
        weight = c_void_p(self.call("ggml_new_tensor_2d", c_void_p, context, c_int(kind), *sizes))
        given = c_void_p(
            self.call("ggml_new_tensor_2d", c_void_p, context, c_int(F32), c_int64(case.cols), c_int64(case.batch))
        )
        self.place(weight, layout)
        answer = c_void_p(self.call("ggml_mul_mat", c_void_p, context, weight, given))
        device = c_void_p(self.call("ggml_backend_get_device", c_void_p, c_void_p(self.backend)))
        if not self.call("ggml_backend_dev_supports_op", c_bool, device, answer):
            return None
        plain = self.call("ggml_backend_cpu_buffer_type", c_void_p)
        self.place(given, plain)
        self.place(answer, plain)
        self.call("ggml_backend_tensor_set", None, weight, data, c_size_t(0), c_size_t(len(data)))
        self.call("ggml_backend_tensor_set", None, given, c_void_p(x.data_ptr()), c_size_t(0), c_size_t(x.nbytes))
        graph = c_void_p(self.call("ggml_new_graph_custom", c_void_p, context, c_size_t(8), c_bool(False)))
        self.call("ggml_build_forward_expand", None, graph, answer)
        compute, backend = self.all.ggml_backend_graph_compute, c_void_p(self.backend)
        return lambda: compute(backend, graph)

    def place(self, tensor: c_void_p, layout: int) -> None:
        size = self.call("ggml_backend_buft_get_alloc_size", c_size_t, c_void_p(layout), tensor)
        buffer = c_void_p(self.call("ggml_backend_buft_alloc_buffer", c_void_p, c_void_p(layout), c_size_t(size)))
        base = c_void_p(self.call("ggml_backend_buffer_get_base", c_void_p, buffer))
        self.call("ggml_backend_tensor_alloc", c_int, buffer, tensor, base)

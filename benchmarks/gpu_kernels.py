"""Products on an NVIDIA GPU with cold weights, against PyTorch's own and gemlite's, in one run.

    python benchmarks/gpu_kernels.py [--batches 1,8,32,128,256,2048] [--schemes uint4g64,int8,nf4g64] [--shapes down,8192x8192]

The copy bandwidth of the machine comes first. Each time is the median of replays of a CUDA graph over enough copies of the weight
to pass the last cache. The share is the bytes of the weight and its scales over the time, of that bandwidth. The last line is JSON.
"""

import argparse
import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from gpu_timing import copy_bandwidth, graph_seconds
from torch import Tensor

from fewbits.runtime import gpu
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme

SHAPES = {"qkv": (3072, 2048), "o": (2048, 2048), "gate+up": (16384, 2048), "down": (2048, 8192), "head": (128256, 2048)}
MOST = {
    "torch int4": 128,
    "gemlite": 128,
    "a copy": 1,
}  # rows: beyond, they are many times slower than bf16, or tune for minutes
CACHE = 200e6  # bytes that are cycled through: over three times an H200's 60 MB


def ours(scheme: str, rows: int, cols: int) -> tuple[list[Callable[[Tensor], Tensor]], int]:
    """Copies of a product with a packed weight, and the bytes of one."""
    weight = repack(Scheme.parse(scheme).quantize(torch.randn(rows, cols, device="cuda") * 0.02))
    if weight is None:
        raise SystemExit(f"{scheme} has no kernel")
    copies = [replace(weight, words=weight.words.clone(), meta=weight.meta.clone()) for _ in range(_copies(weight.nbytes))]
    return [lambda x, w=w: gpu.product(w, x) for w in copies], weight.nbytes


def bf16(rows: int, cols: int) -> tuple[list[Callable[[Tensor], Tensor]], int]:
    """Copies of PyTorch's product in bf16."""
    copies = [torch.randn(rows, cols, device="cuda").bfloat16() for _ in range(_copies(rows * cols * 2))]
    return [lambda x, w=w: F.linear(x, w) for w in copies], rows * cols * 2


def copy_only(rows: int, cols: int) -> tuple[list[Callable[[Tensor], Tensor]], int]:
    """Copies that read and write together as many bytes as 4 bits in groups of 64 take: what one kernel after another can reach."""
    nbytes = rows * cols * 9 // 16
    pairs = torch.empty(_copies(nbytes), 2, nbytes // 2, dtype=torch.uint8, device="cuda")
    return [lambda x, p=p: p[0].copy_(p[1]) for p in pairs], nbytes


def int4pack(rows: int, cols: int) -> tuple[list[Callable[[Tensor], Tensor]], int]:
    """Copies of PyTorch's product with 4 bits in groups of 64."""
    codes = torch.randint(0, 255, (rows, cols // 2), dtype=torch.uint8, device="cuda")
    packed = torch.ops.aten._convert_weight_to_int4pack(codes, 8)
    scales = torch.randn(cols // 64, rows, 2, device="cuda").bfloat16()
    copies = [packed.clone() for _ in range(_copies(rows * cols // 2))]
    return [lambda x, w=w: torch.ops.aten._weight_int4pack_mm(x, w, 64, scales) for w in copies], rows * cols * 9 // 16


def gemlite4(rows: int, cols: int) -> tuple[list[Callable[[Tensor], Tensor]], int]:
    """Copies of gemlite's product with 4 bits in groups of 64, as hqq's users call it."""
    from gemlite.helper import A16W4_HQQ_INT

    make = A16W4_HQQ_INT(device="cuda:0", dtype=torch.bfloat16)
    codes = torch.randint(0, 16, (rows, cols), dtype=torch.uint8, device="cuda")
    scales, zeros = torch.rand(2, rows * cols // 64, 1, device="cuda").bfloat16().unbind(0)
    layer = make.from_weights(codes, scales * 0.01, zeros * 15)
    copies = [copy.deepcopy(layer) for _ in range(_copies(rows * cols // 2))]
    return [lambda x, w=w: w(x) for w in copies], rows * cols * 9 // 16


def _copies(nbytes: int) -> int:
    return max(2, min(64, math.ceil(CACHE / nbytes)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", default="1,8,32,128,256,2048")
    parser.add_argument("--schemes", default="uint4g64,int8,nf4g64,uint3g64,uint2g64")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of these names, or outputs x inputs")
    options = parser.parse_args()
    torch.manual_seed(0)
    limit = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}: copies {limit / 1e12:.2f} TB/s")
    results = []
    for name in options.shapes.split(","):
        rows, cols = SHAPES[name] if name in SHAPES else map(int, name.split("x"))
        makers = {s: partial(ours, s, rows, cols) for s in options.schemes.split(",")}
        makers |= {"bf16": partial(bf16, rows, cols), "torch int4": partial(int4pack, rows, cols)}
        makers["a copy"] = partial(copy_only, rows, cols)
        if find_spec("gemlite"):
            makers["gemlite"] = partial(gemlite4, rows, cols)
        for label, make in makers.items():
            calls, nbytes = make()
            for batch in map(int, options.batches.split(",")):
                if batch > MOST.get(label, batch):
                    continue
                x = torch.randn(batch, cols, device="cuda").bfloat16()
                seconds = graph_seconds([partial(c, x) for c in calls])
                share = nbytes / seconds / limit
                print(
                    f"{name:8} {rows:6} x {cols:5}  {label:10} batch {batch:4}  {seconds * 1e6:8.2f} us  {share:5.0%}",
                    flush=True,
                )
                results.append({"shape": [rows, cols], "kernel": label, "batch": batch, "seconds": seconds, "share": share})
            del calls
            torch.cuda.empty_cache()
    print(json.dumps({"device": torch.cuda.get_device_name(), "copy_bandwidth": limit, "results": results}))


if __name__ == "__main__":
    main()

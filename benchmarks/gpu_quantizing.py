"""How long quantizing takes on an NVIDIA GPU: fewbits beside hqq, the library whose method it follows, interleaved in one run.

    python benchmarks/gpu_quantizing.py [--rounds 5]

All linear layers of Llama-3.2-1B's shape with random bf16 weights, on the GPU before the clock starts; the clock stops when the
device is done. Compiled kernels are on disk after the first round, which is not counted. The limit comes first: the time to read
the weights once and write what is stored, at the measured copy bandwidth. The last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from gpu_decode import llama
from gpu_timing import copy_bandwidth
from torch import nn

import fewbits

SCHEMES = ("rtn:uint4g64", "hqq:uint4g64", "mse:uint4g64", "hqq:uint3g64", "nf4g64", "mse:nf4g64", "rtn:int8")


def linears(model: nn.Module) -> list[str]:
    """The linear layers of the body."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name != "lm_head"]


def library(model: nn.Module) -> None:
    """What hqq's own users call, layer by layer."""
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    config = BaseQuantizeConfig(nbits=4, group_size=64, axis=1)
    for name in linears(model):
        layer = HQQLinear(model.get_submodule(name), config, compute_dtype=torch.bfloat16, device="cuda")
        model.set_submodule(name, layer)


def seconds(way: Callable[[Any], object], model: nn.Module) -> float:
    """Wall time until the device is done."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    way(model)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print what the device and the host did for hqq:uint4g64")
    options = parser.parse_args()
    torch.manual_seed(0)
    bandwidth = copy_bandwidth()
    weights = sum(p.numel() for n, p in llama().named_parameters() if "proj" in n)
    limit = weights * (2 + 0.5 + 4 / 64) / bandwidth
    print(
        f"{torch.cuda.get_device_name()}: copies {bandwidth / 1e12:.2f} TB/s; {weights / 1e6:.0f} M weights, limit {limit * 1e3:.2f} ms"
    )
    ways: dict[str, Callable[[Any], object]] = {s: lambda m, s=s: fewbits.quantize(m, s) for s in SCHEMES}
    try:
        import hqq  # noqa: F401

        ways["hqq, the library"] = library
    except ImportError:
        print("hqq is not installed: it is left out")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        for name, way in ways.items():
            taken = seconds(way, llama())
            if turn:
                times[name].append(taken)
    for name, taken in times.items():
        print(f"{name:18} {median(taken) * 1e3:8.1f} ms  {min(taken) * 1e3:.1f} to {max(taken) * 1e3:.1f}")
    if options.profile:
        profile()
    print(json.dumps({"device": torch.cuda.get_device_name(), "copy_bandwidth": bandwidth, "limit_s": limit, "seconds": times}))


def profile() -> None:
    """Where the time of hqq:uint4g64 goes."""
    import cProfile
    import pstats

    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    model = llama()
    with torch_profile(activities=[ProfilerActivity.CUDA]) as seen:
        fewbits.quantize(model, "hqq:uint4g64")
        torch.cuda.synchronize()
    print(seen.key_averages().table(sort_by="cuda_time_total", row_limit=8, max_name_column_width=40))
    host = cProfile.Profile()
    model = llama()
    host.runcall(fewbits.quantize, model, "hqq:uint4g64")
    pstats.Stats(host).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()

"""How long quantizing takes: fewbits beside hqq, the library whose method it follows, interleaved in one run.

    make bench                                             the model that the package carries
    python benchmarks/quantizing.py --model FOLDER --rounds 5
    python benchmarks/quantizing.py --model llama-1b --rounds 2 --alone       Llama-3.2-1B's shape, without the library

Both quantize the linear layers of the same model's body at 4 bits in groups of 64 on the CPU, weights in memory before the
clock starts. The limit is printed first: the time to read the weights once at the measured copy bandwidth.
The last line is one JSON document.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from cpu_decode import llama
from torch import nn

import fewbits
from fewbits import machine, models
from fewbits.errors import FewbitsError
from fewbits.roles import kept_by_default


def main() -> None:
    """Measure, print the table, then the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="without the library beside it")
    settings = parser.parse_args()
    torch.set_grad_enabled(False)
    model = llama() if settings.model == "llama-1b" else models.load(settings.model).model
    ways = {s: lambda m, s=s: fewbits.quantize(m, s) for s in ("rtn:uint4g64", "hqq:uint4g64", "mse:uint4g64", "nf4g64")}
    if not settings.alone:
        ways["hqq 0.2.8 4 bits g64"] = library_hqq
    weights = body_weights(model)
    limit = read_limit(weights)
    print(
        f"{settings.model}: {sum(w.numel() for w in weights) / 1e6:.1f} M weights; reading them once takes {limit * 1e3:.1f} ms here"
    )
    times = interleaved(model, ways, settings.rounds)
    ours = statistics.median(times["hqq:uint4g64"])
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:24s} {middle:8.3f} s   {min(taken):.3f} to {max(taken):.3f}   {middle / ours:6.2f} x hqq:uint4g64")
    print(json.dumps({"machine": machine.describe(), "model": settings.model, "limit_s": limit, "seconds": times}))


def interleaved(model: nn.Module, ways: dict[str, Callable[[nn.Module], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, all of them in turn, `rounds` times after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            fresh = copy.deepcopy(model)
            start = time.perf_counter()
            way(fresh)
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def library_hqq(model: nn.Module) -> None:
    """What hqq's own users call, layer by layer."""
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    config = BaseQuantizeConfig(nbits=4, group_size=64, axis=1)
    for name in body_names(model):
        layer = model.get_submodule(name)
        model.set_submodule(name, HQQLinear(layer, config, compute_dtype=torch.float32, device="cpu"))


def body_names(model: nn.Module) -> list[str]:
    """The linear layers that are quantized by default."""
    kept = kept_by_default(model)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n not in kept]
    if not names:
        raise FewbitsError("this model has no nn.Linear in its body: the library quantizes nothing else")
    return names


def body_weights(model: nn.Module) -> list[torch.Tensor]:
    """Their weights."""
    return [model.get_submodule(name).get_parameter("weight") for name in body_names(model)]


def read_limit(weights: list[torch.Tensor]) -> float:
    """Seconds to read the weights once, from the bandwidth of a copy (which reads and writes) of 256 MiB."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    bandwidth = 2 * source.nbytes / best
    return sum(w.nbytes for w in weights) / bandwidth


if __name__ == "__main__":
    main()

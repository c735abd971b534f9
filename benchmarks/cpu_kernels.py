"""How fast the CPU kernels are: one linear layer, beside other libraries' kernels, interleaved in one run.

    python benchmarks/cpu_kernels.py --threads 1 --batch 1 --shape 2048x2048 --peers torch,ort,ggml

The limit is printed first: the bandwidth with which this machine reads memory. Every side goes
through copies of its weight that together take --megabytes, so that they come from memory and not from a cache; what it does
to the activations is counted in.
Medians and 5th percentiles (other programs on the machine only ever add) of single calls; ratios are theirs over ours.
onnxruntime's layers stand side by side in one graph, so its cost of starting a session is not counted.
The last line is one JSON document.

onnxruntime:  pip install onnxruntime onnx, here or in a folder named by --path
ggml:         that of llama-cpp-python, built with -DGGML_NATIVE=ON (make bench-cpu), or --ggml FOLDER with libggml*.so
bnb, hqq:     bitsandbytes and hqq, as their own layers
"""

import argparse
import json
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F

from fewbits import machine
from fewbits.doctor.limits import read_bandwidth
from fewbits.runtime import cpu
from fewbits.runtime.cpu.operators import multiply
from fewbits.runtime.cpu.pack import pack
from fewbits.scheme import Scheme

OURS = ("uint4g64", "int8", "uint3g64", "uint2g64", "nf4g64")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One kernel: `run(i)` multiplies by copy i and returns the number of products it did."""

    name: str
    run: Callable[[int], int]
    nbytes: int  # of one weight


@dataclass(frozen=True, kw_only=True)
class Case:
    """One product, and how many bytes of weights are rotated."""

    rows: int
    cols: int
    batch: int
    total: int
    threads: int

    def copies(self, nbytes: int) -> int:
        return max(2, self.total // nbytes)


def main() -> None:
    """Measure every shape and batch, print tables, then the JSON document."""
    settings = arguments()
    torch.set_num_threads(settings.threads)
    torch.set_grad_enabled(False)
    cpu.set_level(settings.level)
    bandwidth = read_bandwidth()
    print(f"{cpu.level()}, {settings.threads} threads; reading memory: {bandwidth / 1e9:.1f} GB/s")
    results = []
    for shape in settings.shape.split(","):
        rows, cols = map(int, shape.split("x"))
        for batch in map(int, settings.batch.split(",")):
            case = Case(rows=rows, cols=cols, batch=batch, total=settings.megabytes << 20, threads=settings.threads)
            results.append(measure(case, settings, bandwidth))
    print(json.dumps({"machine": machine.describe(), "level": cpu.level(), "read_bandwidth": bandwidth, "results": results}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="2048x2048,8192x2048,2048x8192", help="outputs x inputs")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--schemes", default=",".join(OURS))
    parser.add_argument("--peers", default="torch", help="torch, ort, ggml, bnb, hqq")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--level", choices=cpu.library.LEVELS, help="instructions to use at most")
    parser.add_argument("--path", type=Path, help="site-packages with onnxruntime")
    parser.add_argument("--ggml", type=Path, default=of_llama_cpp(), help="folder of ggml's libraries")
    return parser.parse_args()


def of_llama_cpp() -> Path | None:
    """The libraries that llama-cpp-python was built with."""
    found = find_spec("llama_cpp")
    return Path(found.origin).parent / "lib" if found and found.origin else None


def measure(case: Case, settings: argparse.Namespace, bandwidth: float) -> dict[str, object]:
    """All sides in turn until the time is over."""
    sides = list(all_sides(case, settings))
    first, shown = sides[0], list(sides)
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    counters = {side.name: count() for side in sides}
    end = time.perf_counter() + settings.seconds
    while time.perf_counter() < end or len(times[first.name]) < 20:
        random.shuffle(sides)  # each side leaves the caches, and the clock of the cores, in a state of its own
        for side in sides:
            for turn in range(6 if case.batch == 1 else 2):
                start = time.perf_counter()
                products = side.run(next(counters[side.name]))
                taken = time.perf_counter() - start
                if turn:  # the first call finds the caches as another side left them
                    times[side.name].append(taken / products)
    print(f"\n{case.rows}x{case.cols}, batch {case.batch}, {case.threads} threads")
    print(f"{'':28s}{'median us':>10s}{'5th pct':>10s}{'GB/s':>7s}{'of limit':>9s}{'median / ours':>15s}{'5th / ours':>12s}")
    table = [line(side, times[side.name], times[first.name], bandwidth) for side in shown]
    return {"rows": case.rows, "cols": case.cols, "batch": case.batch, "threads": case.threads, "sides": table}


def line(side: Side, times: list[float], ours: list[float], bandwidth: float) -> dict[str, object]:
    middle, low = statistics.median(times), fifth(times)
    rate = side.nbytes / low
    ratio, low_ratio = middle / statistics.median(ours), low / fifth(ours)
    print(
        f"{side.name:28s}{middle * 1e6:10.1f}{low * 1e6:10.1f}{rate / 1e9:7.1f}{rate / bandwidth:9.2f}"
        f"{ratio:15.2f}{low_ratio:12.2f}"
    )
    return {
        "name": side.name,
        "bytes": side.nbytes,
        "n": len(times),
        "median_s": middle,
        "p5_s": low,
        "ratio": ratio,
        "p5_ratio": low_ratio,
    }


def fifth(times: list[float]) -> float:
    return sorted(times)[len(times) // 20]


def all_sides(case: Case, settings: argparse.Namespace) -> Iterator[Side]:
    x = torch.randn(case.batch, case.cols)
    for scheme in settings.schemes.split(","):
        yield ours(case, x, scheme)
    peers = settings.peers.split(",")
    if "torch" in peers:
        yield from torch_sides(case, x)
    if "ort" in peers:
        sys.path.append(str(settings.path or ""))
        import cpu_peers_ort

        for bits, block in ((4, 32), (4, 64), (8, 64)):
            nbytes = case.rows * case.cols * (bits * block // 8 + 4) // block
            run, products = cpu_peers_ort.session(case, x, bits, block, case.copies(nbytes))
            yield Side(name=f"ort {bits} bits b{block}", run=repeated(run, products), nbytes=nbytes)
    if "bnb" in peers or "hqq" in peers:
        import cpu_peers_layers

        yield from (Side(name=n, run=single(r), nbytes=b) for n, b, r in cpu_peers_layers.sides(peers, case, x))
    if "ggml" in peers:
        import cpu_peers_ggml

        ggml = cpu_peers_ggml.Ggml(settings.ggml, case.threads)
        for kind in ("q4_0", "q4_K", "q8_0"):
            for name, nbytes, runs in ggml.sides(kind, case, x):
                yield Side(name=f"ggml {name}", run=single(runs), nbytes=nbytes)


def ours(case: Case, x: torch.Tensor, scheme: str) -> Side:
    weight = Scheme.parse(scheme).quantize(torch.randn(case.rows, case.cols))
    first = pack(weight)
    if first is None:
        raise SystemExit(f"{scheme} has no kernel")
    packs = [first, *filter(None, (pack(weight) for _ in range(case.copies(first.nbytes) - 1)))]
    return Side(name=f"fewbits {scheme}", run=single([lambda p=p: multiply(x, p, None) for p in packs]), nbytes=first.nbytes)


def torch_sides(case: Case, x: torch.Tensor) -> Iterator[Side]:
    rows, cols = case.rows, case.cols
    half = x.bfloat16()
    floats = [torch.randn(rows, cols) for _ in range(case.copies(4 * rows * cols))]
    yield Side(name="torch fp32", run=single([lambda w=w: F.linear(x, w) for w in floats]), nbytes=4 * rows * cols)
    halves = [torch.randn(rows, cols).bfloat16() for _ in range(case.copies(2 * rows * cols))]
    yield Side(name="torch bf16", run=single([lambda w=w: F.linear(half, w) for w in halves]), nbytes=2 * rows * cols)
    code = torch.randint(-127, 128, (rows, cols), dtype=torch.int8)
    copies, scale = case.copies(rows * cols), torch.rand(rows).bfloat16()
    codes = [code.clone() for _ in range(copies)]
    runs = [lambda w=w: torch._weight_int8pack_mm(half, w, scale) for w in codes]
    yield Side(name="torch _weight_int8pack_mm", run=single(runs), nbytes=rows * cols)
    four = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.randint(0, 16, (rows, cols), dtype=torch.int32), 1)
    zeros = torch.rand(cols // 64, rows, 2).bfloat16()
    multiply4 = torch.ops.aten._weight_int4pack_mm_for_cpu
    nbytes = four.nbytes + zeros.nbytes
    fours = [(four.clone(), zeros.clone()) for _ in range(case.copies(nbytes))]
    runs = [lambda w=w, s=s: multiply4(half, w, 64, s) for w, s in fours]
    yield Side(name="torch _weight_int4pack_mm", run=single(runs), nbytes=nbytes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = torch.quantize_per_tensor(torch.randn(rows, cols), 0.05, 0, torch.qint8)
        packed = [torch.ops.quantized.linear_prepack(weight, None) for _ in range(copies)]
    runs = [lambda w=w: torch.ops.quantized.linear_dynamic(x, w, False) for w in packed]
    yield Side(name="FBGEMM int8 (dynamic)", run=single(runs), nbytes=rows * cols)


def single(runs: list[Callable[[], object]]) -> Callable[[int], int]:
    def run(i: int) -> int:
        runs[i % len(runs)]()
        return 1

    return run


def repeated(run: Callable[[], object], products: int) -> Callable[[int], int]:
    def all_of_them(_: int) -> int:
        run()
        return products

    return all_of_them


if __name__ == "__main__":
    main()

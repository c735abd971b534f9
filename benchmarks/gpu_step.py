"""The fused decode step alone, without a prompt: microseconds a step, and with --phases where a block's time goes.

    python benchmarks/gpu_step.py [--plans "uint4g64, head too+uint4g64"] [--phases] [--length 512]

Llama-3.2-1B's shape with random weights and a cache of random keys and values; 256 steps from position 64, sixteen a launch as
`fewbits generate` makes them; the median of five such runs. --phases adds a run of a kernel that notes its clock in each phase (it is
about 3 % slower): mean cycles of the blocks' first threads, with the 10th and 90th percentiles. The last line is JSON.
"""

import argparse
import json
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from gpu_decode import PLANS, llama
from gpu_timing import copy_bandwidth

import fewbits
from fewbits.runtime import step
from fewbits.runtime.structure import recognise

NAMES = ("qkv", "attend", "out", "gated", "plain", "down", "head")
PARTS = {"wait": (0, 1), "inputs": (1, 2), "products": (2, 3), "barrier": (3, 4), "finish": (4, 5), "all": (0, 5)}
START, STEPS, BURST = 64, 256, 16


def engine(model: Any, length: int, phases: bool) -> step.StepEngine:
    """An engine over a full cache."""
    step.PROFILE = int(phases)
    made = step.StepEngine(recognise(model), max_len=length)
    made.keys.normal_()
    made.values.normal_()
    made.tokens[START] = 17
    return made


def run(made: step.StepEngine) -> float:
    """Seconds a step."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for at in range(START, START + STEPS, BURST):
        made.decode(at, BURST)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / STEPS


def told(made: step.StepEngine) -> dict[str, dict[str, list[float]]]:
    """Cycles of the last step's phases: mean, 10th and 90th percentile over blocks and layers, of blocks that worked."""
    marks = made.profile.cpu().numpy().astype(float)
    types = np.array([0, 1, 2, 3, 5] * len(made.structure.blocks) + [6])
    found: dict[str, dict[str, list[float]]] = {}
    for kind in sorted(set(types)):
        rows = marks[:, np.flatnonzero(types == kind)[min(1, (types == kind).sum() - 1) :]].reshape(-1, 16)
        rows = rows[(rows[:, 4] > rows[:, 0]) & (rows[:, 5] > rows[:, 4])]
        rows[:, 1] = np.maximum(rows[:, 1], rows[:, 0])  # parts of a head are waited for while they are merged, unmarked
        parts = {n: rows[:, b] - rows[:, a] for n, (a, b) in PARTS.items()}
        found[NAMES[kind]] = {n: [float(v.mean()), *map(float, np.percentile(v, (10, 90)))] for n, v in parts.items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    fused = [name for name in PLANS if not name.endswith("graph")]
    parser.add_argument("--plans", default="+".join(fused), help="names of plans, with + between them")
    parser.add_argument("--length", type=int, default=512, help="of the cache")
    parser.add_argument("--phases", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name()}: copies {copy_bandwidth() / 1e12:.2f} TB/s")
    results: dict[str, Any] = {}
    for name in options.plans.split("+"):
        model = fewbits.quantize(llama(), PLANS[name]) if PLANS[name] else llama()
        made = engine(model, options.length, phases=False)
        run(made)
        seconds = median(run(made) for _ in range(5))
        results[name] = {"seconds": seconds}
        print(f"{name:22} {seconds * 1e6:7.1f} us a step  {1 / seconds:6.0f} tokens/s", flush=True)
        if options.phases:
            made = engine(model, options.length, phases=True)
            run(made)
            results[name]["cycles"] = told(made)
            for phase, parts in results[name]["cycles"].items():
                print(f"  {phase:7}", "  ".join(f"{n} {m:.0f} ({a:.0f} to {b:.0f})" for n, (m, a, b) in parts.items()))
        del model, made
        torch.cuda.empty_cache()
    print(json.dumps({"device": torch.cuda.get_device_name(), "results": results}))


if __name__ == "__main__":
    main()

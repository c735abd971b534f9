"""One sentence through GPT-2's shape (124 M weights, random) on the CPU, in float32 and in each scheme, in turn.

    python benchmarks/cpu_sentence.py --threads 2 [--tokens 16] [--repeats 15]

The fastest and the median run of each, in ms, and how many times as fast as float32 the median is. The last line is JSON.
"""

import argparse
import json

import torch

import fewbits
from fewbits import machine
from fewbits.doctor.sample import twin
from fewbits.measure.speed import Timing, latencies
from fewbits.runtime import cpu

SCHEMES = (
    *(f"{kind}g{group}" for kind in ("uint8", "uint4", "uint3", "uint2") for group in (64, 32, 16, 8)),
    *("int8", "int4", "nf4g64", "fp4g64", "int8a8"),
)


def main() -> None:
    """Measure, print the table, then the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.set_grad_enabled(False)
    plain, schemes = gpt2(), settings.schemes.split(",")
    sides = [plain, *(fewbits.quantize(twin(plain), scheme) for scheme in schemes)]
    ids = torch.randint(50257, (1, settings.tokens), generator=torch.Generator().manual_seed(0))
    found = latencies(sides, [ids] * len(sides), Timing(repeats=settings.repeats, warmup=2))
    print(f"{cpu.level()}, {settings.threads} threads, {settings.tokens} tokens, {settings.repeats} runs of each\n")
    print(f"{'':12s}{'median ms':>10s}{'fastest':>9s}{'x float32':>11s}")
    for name, each in zip(["float32", *schemes], found, strict=True):
        print(f"{name:12s}{each.value * 1e3:10.1f}{each.parts['min'] * 1e3:9.1f}{found[0].value / each.value:11.2f}")
    results = {name: each.value for name, each in zip(["float32", *schemes], found, strict=True)}
    print(json.dumps({"machine": machine.describe(), "level": cpu.level(), "median_s": results}))


def gpt2() -> torch.nn.Module:
    """GPT-2's shape in float32."""
    from transformers import GPT2Config, GPT2LMHeadModel  # after fewbits, which keeps a broken torchvision out of its way

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config()).eval()


if __name__ == "__main__":
    main()

"""Products on an NVIDIA GPU against float64, on fresh random inputs: every width, odd shapes, batches of 1 to 200.

    python benchmarks/gpu_check.py [--limit 1e-2]

Every product is made twice: the bits are the same. What is not written stays NaN and is found. One line for each width, with its
worst relative error (norm of the difference over the norm) and where that was; the last line is JSON. Exit code 1 above the limit.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from fewbits.runtime import gpu
from fewbits.runtime.weight import repack
from fewbits.scheme import Scheme

SCHEMES = ("int8", "uint8g64", "uint4g64", "uint4g128", "int4", "nf4g64", "fp4g64", "uint3g64", "int3", "uint2g64")
SHAPES = ((1000, 1088), (257, 264), (33, 4160), (2048, 512), (129, 100), (16, 64), (4112, 2048), (8200, 1024), (12300, 512))
BATCHES = (1, 2, 5, 8, 9, 16, 33, 64, 65, 128, 129, 200, 300)
DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16}
Case = dict[str, str | int]


def cases(scheme: str) -> list[tuple[float, Case]]:
    """Error of every case of a scheme that has a kernel, NaN where something is wrong."""
    found = []
    parsed = Scheme.parse(scheme)
    for rows, cols in SHAPES:
        if parsed.format.group and cols % parsed.format.group:
            continue
        quantized = parsed.quantize(torch.randn(rows, cols, device="cuda") * 0.05 + 0.02)
        weight = repack(quantized)
        if weight is None:
            raise SystemExit(f"{scheme} has no kernel")
        exact = quantized.dequantize().double()
        for name, dtype in DTYPES.items():
            for batch in BATCHES:
                for bias in (None, torch.randn(rows, device="cuda").to(dtype)):
                    x = torch.randn(batch, cols, device="cuda").to(dtype)
                    want = x.double() @ exact.T + (0 if bias is None else bias.double())
                    error = error_of(weight, x, bias, want)
                    found.append((error, {"shape": f"{rows}x{cols}", "batch": batch, "inputs": name}))
    return found


def error_of(weight: "gpu.KernelWeight", x: torch.Tensor, bias: torch.Tensor | None, want: torch.Tensor) -> float:
    """Relative error of a product; NaN where two of the same differ, or something was not written."""
    answers = []
    for _ in range(2):
        stale = torch.full(want.shape, torch.nan, dtype=x.dtype, device="cuda")  # whose memory the product is given
        del stale
        answers.append(gpu.product(weight, x, bias))
    if not torch.equal(*answers):
        return float("nan")
    return float((answers[0].double() - want).norm() / want.norm())


def main() -> None:
    """Check and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=float, default=1e-2)
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    options = parser.parse_args()
    seed = torch.seed()
    torch.empty(0, device="cuda")
    print(f"{torch.cuda.get_device_name()}, seed {seed}")
    worst = {}
    schemes = options.schemes.split(",")
    with ThreadPoolExecutor(len(schemes)) as pool:  # compiling takes most of the time
        found_of = dict(zip(schemes, pool.map(cases, schemes), strict=True))
    for scheme, found in found_of.items():
        bad = [case for case in found if not case[0] < options.limit]
        error, where = bad[0] if bad else max(found, key=lambda case: case[0])
        worst[scheme] = {"error": error, "cases": len(found), "bad": len(bad), **where}
        print(
            f"{scheme:10} {len(found):4} products  worst {error:.1e}  {where}  {len(bad)} above {options.limit:g}", flush=True
        )
    print(json.dumps({"device": torch.cuda.get_device_name(), "seed": seed, "limit": options.limit, "worst": worst}))
    sys.exit(any(case["bad"] for case in worst.values()))


if __name__ == "__main__":
    main()

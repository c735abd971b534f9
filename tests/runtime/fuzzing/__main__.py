"""python -m tests.runtime.fuzzing --calls 500 --seed 0: random calls of operators and of C functions, on every instruction set.

A process of its own, so that a crash is a failed test. Each invalid call is printed before it is made.
"""

import argparse
import random
from pathlib import Path

import torch

from fewbits.runtime import cpu
from fewbits.runtime.cpu import library
from tests.runtime.fuzzing import entries, operators


def main() -> None:
    """Make the calls; the exit status is 0 if all of them ended well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--widths", default="1,2,3,4,5,6,7,8", help="widths that the library was built with")
    parser.add_argument("--library", type=Path, help="another build of it")
    wanted = parser.parse_args()
    if wanted.library is not None:
        library.LIBRARY = wanted.library
    problem = cpu.why_not()
    if problem is not None:
        raise SystemExit(problem)
    torch.set_grad_enabled(False)
    widths = tuple(map(int, wanted.widths.split(",")))
    checks = (operators.check_linear, operators.check_linear, operators.check_rows, *entries.CHECKS)
    for at in range(wanted.calls):
        seed = wanted.seed + at
        torch.manual_seed(seed)
        level = cpu.set_level(library.LEVELS[1 + at % (len(library.LEVELS) - 1)])
        check = checks[seed % len(checks)]
        print(f"seed {seed}, {level}: {check.__module__}.{check.__name__}", flush=True)
        check(random.Random(seed), widths)
    print(f"{wanted.calls} calls ended well")


main()

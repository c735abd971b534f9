"""Runs a study again and again, each time in a process that is killed with -9 after a random while, then to its end.

python -m tests.study.killing STUDY.yaml FOLDER KILLS SECONDS
"""

import random
import sys
from pathlib import Path

import torch

from fewbits.study import reading
from fewbits.study.run import run
from tests.killing import killed


def main(file: Path, folder: Path, kills: int, most: float) -> None:
    """The processes are forked from this one, which has torch imported and nothing running."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    ended = sum(killed(lambda: run(reading.read(file), folder), rng.uniform(0, most)) for _ in range(kills))
    run(reading.read(file), folder)
    print(f"killed {ended}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))

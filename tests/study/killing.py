"""Runs a study again and again, each time in a process that is killed with -9 after a random while, then to its end.

python -m tests.study.killing STUDY.yaml FOLDER KILLS SECONDS
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from fewbits.study import reading
from fewbits.study.run import run


def main(file: Path, folder: Path, kills: int, most: float) -> None:
    """The processes are forked from this one, which has torch imported and nothing running."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    killed = 0
    for _ in range(kills):
        killed += _one(file, folder, rng.uniform(0, most))
    run(reading.read(file), folder)
    print(f"killed {killed}")


def _one(file: Path, folder: Path, after: float) -> bool:
    """Whether the process was killed before its end."""
    child = os.fork()
    if child == 0:
        run(reading.read(file), folder)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))

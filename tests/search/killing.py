"""Tunes a tiny model again and again, each time in a process that is killed with -9 after a random while, then to its end.

python -m tests.search.killing CACHE KILLS SECONDS        prints how many were killed, and the plan
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from fewbits.search import Goal, parse_limit
from fewbits.search.outcome import Tuned
from tests import tiny
from tests.search.tiny import search, spiky, text


def main(cache: Path, kills: int, most: float) -> None:
    """The processes are forked from this one, which has torch imported and nothing running."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    killed = sum(_one(cache, rng.uniform(0, most)) for _ in range(kills))
    found = _tune(cache)
    print(f"{killed}\n{found.plan}\n{found.chosen.main!r}")


def _tune(cache: Path) -> Tuned:
    goal = Goal.of([parse_limit("kl<=0.0004"), parse_limit("size<=95%")], minimize="size")
    return search(spiky(tiny.llama()), text(), cache).run(goal)


def _one(cache: Path, after: float) -> bool:
    """Whether the process was killed before its end."""
    child = os.fork()
    if child == 0:
        _tune(cache)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

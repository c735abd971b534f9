"""Tunes a tiny model again and again, each time in a process that is killed with -9 after a random while, then to its end.

python -m tests.search.killing CACHE KILLS SECONDS        prints how many were killed, and the plan
"""

import random
import sys
from pathlib import Path

import torch

from fewbits.search import Goal, parse_limit
from fewbits.search.outcome import Tuned
from tests import tiny
from tests.killing import killed
from tests.search.tiny import search, spiky, text


def main(cache: Path, kills: int, most: float) -> None:
    """The processes are forked from this one, which has torch imported and nothing running."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    ended = sum(killed(lambda: _tune(cache), rng.uniform(0, most)) for _ in range(kills))
    found = _tune(cache)
    print(f"{ended}\n{found.plan}\n{found.chosen.main!r}")


def _tune(cache: Path) -> Tuned:
    goal = Goal.of([parse_limit("kl<=0.0004"), parse_limit("size<=95%")], minimize="size")
    return search(spiky(tiny.llama()), text(), cache).run(goal)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

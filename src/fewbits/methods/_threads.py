"""Pieces of work on several threads, each operator of a piece on one: no result then depends on the number of threads.

torch's own way, every operator on all threads, makes them wait for each other some forty times a piece. On two cores that other
programs use too, packing the codes of a layer so took 200 times as long as on one thread.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import torch

P = TypeVar("P")
T = TypeVar("T")


@runtime_checkable
class ForEach(Protocol):
    """Does the work of every piece and returns what comes of it, in the order of the pieces."""

    def __call__(self, work: Callable[[P], T], pieces: Iterable[P]) -> list[T]: ...


def in_turn(work: Callable[[P], T], pieces: Iterable[P]) -> list[T]:
    """One piece after the other."""
    return [work(piece) for piece in pieces]


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[ForEach]:
    """Within, each operator runs on one thread, and what this yields does pieces on as many threads as torch had.

    On a GPU nothing is changed and the pieces are done in turn.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu":
        yield in_turn
        return
    try:
        torch.set_num_threads(1)
        if threads == 1:
            yield in_turn
            return
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda work, pieces: list(pool.map(work, pieces))
    finally:
        torch.set_num_threads(threads)  # a thread's own setting is also the default of those that start after it

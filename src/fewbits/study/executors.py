"""Where items are done: in this process, in several, or on a cluster (see cluster.py). Outcomes come as they are ready."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from fewbits.study.items import Item
from fewbits.study.work import Outcome, perform

Folder = Callable[[str], Path]
Run = Callable[[Sequence[Item], Folder], Iterator[tuple[Item, Outcome]]]
DIED = "its process died, twice: out of memory? Fewer --workers leave more for each"


def in_process(items: Sequence[Item], folder: Folder) -> Iterator[tuple[Item, Outcome]]:
    """One after the other, here."""
    for item in items:
        yield item, perform(item, folder(item.key))


def processes(workers: int, threads: int) -> Run:
    """Several processes of so many threads each. An item whose process dies is done once more, alone."""

    def run(items: Sequence[Item], folder: Folder) -> Iterator[tuple[Item, Outcome]]:
        rest, again = list(items), []
        while rest:
            rest, lost = yield from _pool(rest, folder, workers, threads)
            again += lost
        for item in again:
            _, lost = yield from _pool([item], folder, 1, threads)
            if lost:
                yield item, Outcome(key=item.key, error=DIED)

    return run


def _pool(
    items: list[Item], folder: Folder, workers: int, threads: int
) -> Iterator[tuple[Item, Outcome]]:  # returns what was not begun, and what was lost
    waiting, running = list(items), dict[Future[Outcome], Item]()
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(threads,)) as pool:
        while waiting or running:
            try:
                while waiting and len(running) < workers:  # no more than are at work, so that a death takes few along
                    running[pool.submit(perform, waiting[0], folder(waiting[0].key))] = waiting[0]
                    waiting.pop(0)
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    yield running.pop(future), outcome
            except BrokenProcessPool:
                return waiting, list(running.values())
    return [], []


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)

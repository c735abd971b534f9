"""Items on a Ray cluster. An item goes where its memory and GPU are free; one whose worker or node is lost is done again."""

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from fewbits.data.names import one_line
from fewbits.errors import FewbitsError
from fewbits.study.executors import Folder, Run
from fewbits.study.items import Item
from fewbits.study.work import Outcome, perform

RETRIES = 5
GIB = 1 << 30


def ray(address: str, threads: int) -> Run:
    """Work on the cluster at an address (`auto`, `host:6379`), so many CPU threads an item.

    Models and data are read where the work is done: their folders must be there too. Raises FewbitsError where ray is not
    installed or no cluster answers.
    """
    library = _connect(address)

    def run(items: Sequence[Item], folder: Folder) -> Iterator[tuple[Item, Outcome]]:
        remote = library.remote(_perform)
        largest = _largest(library)
        running: dict[Any, Item] = {}
        for item in items:
            if (problem := _too_large(item, largest, threads)) is not None:
                yield item, Outcome(key=item.key, error=problem)
                continue
            gpus = 1 if item.settings.device.startswith("cuda") else 0
            how = {"num_cpus": threads, "num_gpus": gpus, "memory": item.nbytes, "max_retries": RETRIES}
            running[remote.options(**how).remote(item, threads)] = item
        while running:
            done, _ = library.wait(list(running), num_returns=1)
            item = running.pop(done[0])
            yield item, _outcome(library, done[0], item)

    return run


def _perform(item: Item, threads: int) -> Outcome:
    """On a worker: a folder of ours may not be there, so long items keep their parts to themselves."""
    import torch

    torch.set_num_threads(threads)
    return perform(item)


def _outcome(library: Any, reference: Any, item: Item) -> Outcome:
    try:
        return library.get(reference)
    except library.exceptions.RayError as error:
        return Outcome(key=item.key, error=f"the cluster lost it {RETRIES + 1} times: {one_line(error)}", trace=str(error))


def _connect(address: str) -> Any:
    try:
        import ray as library  # type: ignore[import-not-found]
    except ImportError:
        raise FewbitsError("--ray needs ray: pip install 'fewbits[ray]'") from None
    try:
        _knock(address)
        library.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise FewbitsError(
            f"--ray {address}: no cluster answers ({one_line(error)}): start one with `ray start --head`, others join it with"
            " `ray start --address HOST:6379`"
        ) from None
    return library


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT: ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _largest(library: Any) -> dict[str, float]:
    """The most of each resource that one node of the cluster has."""
    most: dict[str, float] = {}
    for node in library.nodes():
        if node["Alive"]:
            for name, value in node["Resources"].items():
                most[name] = max(most.get(name, 0.0), value)
    return most


def _too_large(item: Item, largest: dict[str, float], threads: int) -> str | None:
    """Why no node can take the item; ray would wait for one for ever."""
    if item.nbytes > largest.get("memory", 0.0):
        has = largest.get("memory", 0.0) / GIB
        return f"needs about {item.nbytes / GIB:.1f} GiB, the largest node of the cluster offers {has:.1f} GiB to ray"
    if item.settings.device.startswith("cuda") and not largest.get("GPU"):
        return "is to run on a GPU, and no node of the cluster has one"
    if threads > largest.get("CPU", 0.0):
        return f"takes {threads} threads, the largest node of the cluster offers {largest.get('CPU', 0.0):.0f} CPUs to ray"
    return None

"""What a search knew in the end, kept for the same question asked again: another limit is answered before torch is imported.

A question is named by all that it depends on: the content of the files that are read, options by their values, the code, and the
machine, whose speed is timed. Of files too large to read in an instant (weights) the size, both times and the inode stand for
the content: any write changes the time of change, which no program can set. What was measured is kept elsewhere, by content
(`store`).
"""

import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fewbits import machine
from fewbits.files import open_regular
from fewbits.plan import Rule
from fewbits.scheme import KEEP, parse_target
from fewbits.search.code import code_digest
from fewbits.search.costs import Clock, Costs
from fewbits.search.evidence import Evidence
from fewbits.search.pick import Choice
from fewbits.search.predict import Known
from fewbits.search.space import Option, Space, Unit
from fewbits.search.store import Store, cache_folder

KEY = "what is known"


LARGE = 32 << 20  # bytes of a file that is not read
MOST_READ = 256 << 20  # bytes that are read in all


def store_of(files: list[Path], options: dict[str, Any]) -> Store:
    """Where the answer to a question is kept. `files` are all that is read (folders with what is in them)."""
    where = [machine.cpu_name(), machine.usable_threads(), platform.python_version()]
    question = json.dumps([_stamps(files), options, code_digest(), where], default=str)
    place = cache_folder()
    return Store(None if place is None else place / "asked" / hashlib.sha256(question.encode()).hexdigest()[:24])


def _stamps(files: list[Path]) -> list[tuple[object, ...]]:
    """A name for the content of each file."""
    found: list[tuple[object, ...]] = []
    left = MOST_READ
    for path in _all(files):
        stat = path.stat()
        if stat.st_size <= min(LARGE, left):
            left -= stat.st_size
            found.append((str(path), hashlib.sha256(_bytes(path)).hexdigest()))
        else:
            found.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return found


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _all(files: list[Path]) -> Iterator[Path]:
    for path in files:
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def keep(store: Store, known: Known, measured: dict[Choice, Evidence]) -> None:
    """Keep what is known, with these measurements beside those that are kept already."""
    before, costs, space = store.known(KEY) or {"clocks": {}, "measured": []}, known.costs, known.costs.space
    store.put(
        KEY,
        {
            "units": _units(space),
            "fixed": space.fixed,
            "candidates": list(space.candidates),
            "rules": [[rule.match, str(rule.scheme or KEEP)] for rule in space.rules],
            "total_params": space.total_params,
            "loss": [list(row) for row in known.loss],
            "cache": costs.cache,
            "clocks": before["clocks"] | {name: asdict(clock) for name, clock in costs.clocks.items()},
            "measured": [[list(c), asdict(e)] for c, e in (_measured(before) | measured).items()],
        },
    )


def _measured(found: dict[str, Any]) -> dict[Choice, Evidence]:
    return {tuple(choice): Evidence(**evidence) for choice, evidence in found["measured"]}


def _units(space: Space) -> list[dict[str, Any]]:
    return [vars(u) | {"options": [vars(o) | {"scheme": str(o)} for o in u.options]} for u in space.units]


def recall(store: Store) -> Known | None:
    """What is kept; None if nothing is, or what is kept is damaged."""
    found = store.known(KEY)
    try:
        return None if found is None else _known(found)
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _known(found: dict[str, Any]) -> Known:
    units = tuple(
        Unit(
            name=u["name"],
            layers=tuple(u["layers"]),
            tied=tuple(u["tied"]),
            params=u["params"],
            options=tuple(Option(**o | {"scheme": parse_target(o["scheme"])}) for o in u["options"]),
        )
        for u in found["units"]
    )
    space = Space(
        units=units,
        fixed=found["fixed"],
        candidates=tuple(found["candidates"]),
        rules=tuple(Rule(match=match, scheme=parse_target(scheme)) for match, scheme in found["rules"]),
        total_params=found["total_params"],
    )
    clocks = {name: Clock(**clock) for name, clock in found["clocks"].items()}
    return Known(
        loss=found["loss"], costs=Costs(space=space, cache=found["cache"], clocks=clocks), evidence=_measured(found).get
    )

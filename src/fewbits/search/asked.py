"""What a search knew in the end, kept for the same question asked again: another limit is answered before torch is imported.

A question is named by all that it depends on: files by their sizes and times (their contents would take as long to read as the
model to load), options by their values, and the code. What was measured is kept elsewhere, by content (`store`).
"""

import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fewbits.plan import Rule
from fewbits.scheme import parse_target
from fewbits.search.code import code_digest
from fewbits.search.costs import Clock, Costs
from fewbits.search.evidence import Evidence
from fewbits.search.pick import Choice
from fewbits.search.predict import Known
from fewbits.search.space import Option, Space, Unit
from fewbits.search.store import Store, cache_folder

KEY = "what is known"


def store_of(files: list[Path], options: dict[str, Any]) -> Store:
    """Where the answer to a question is kept. `files` are all that is read (folders with what is in them)."""
    stamps = [(str(path), stat.st_size, stat.st_mtime_ns) for path in _all(files) for stat in (path.stat(),)]
    question = json.dumps([stamps, options, code_digest(), platform.python_version()], default=str)
    return Store(cache_folder() / "asked" / hashlib.sha256(question.encode()).hexdigest()[:24])


def _all(files: list[Path]) -> Iterator[Path]:
    for path in files:
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def keep(store: Store, known: Known, measured: dict[Choice, Evidence]) -> None:
    """Keep what is known, with these measurements beside those that are kept already."""
    before = recall(store)
    held = {} if before is None else {choice: e for choice in _choices(store) if (e := before.evidence(choice)) is not None}
    costs, space = known.costs, known.costs.space
    clocks = {} if before is None else dict(before.costs.clocks)
    store.put(
        KEY,
        {
            "space": {
                **asdict(space),
                "rules": [[r.match, str(r.scheme or "keep")] for r in space.rules],
                "units": _units(space),
            },
            "loss": [list(row) for row in known.loss],
            "cache": costs.cache,
            "clocks": {name: asdict(clock) for name, clock in {**clocks, **costs.clocks}.items()},
            "measured": [[list(c), {"sums": dict(e.sums), "counts": list(e.counts)}] for c, e in {**held, **measured}.items()],
        },
    )


def _units(space: Space) -> list[dict[str, Any]]:
    return [
        {**asdict(u), "options": [{"scheme": str(o), "nbytes": o.nbytes, "candidate": o.candidate} for o in u.options]}
        for u in space.units
    ]


def recall(store: Store) -> Known | None:
    """What is kept; None where nothing is."""
    found = store.known(KEY)
    if found is None:
        return None
    space = found["space"]
    units = tuple(
        Unit(
            name=u["name"],
            layers=tuple(u["layers"]),
            tied=tuple(u["tied"]),
            params=u["params"],
            options=tuple(Option(**{**o, "scheme": parse_target(o["scheme"])}) for o in u["options"]),
        )
        for u in space["units"]
    )
    rules = tuple(Rule(match=match, scheme=parse_target(scheme)) for match, scheme in space["rules"])
    made = Space(
        units=units,
        fixed=space["fixed"],
        candidates=tuple(space["candidates"]),
        rules=rules,
        total_params=space["total_params"],
    )
    clocks = {name: Clock(**clock) for name, clock in found["clocks"].items()}
    measured = {tuple(choice): Evidence(**evidence) for choice, evidence in found["measured"]}
    return Known(loss=found["loss"], costs=Costs(space=made, cache=found["cache"], clocks=clocks), evidence=measured.get)


def _choices(store: Store) -> list[Choice]:
    return [tuple(choice) for choice, _ in store.known(KEY)["measured"]]

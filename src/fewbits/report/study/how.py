"""How it was measured: protocols, data, machine, versions, and the commands that make it again."""

import shlex
from collections.abc import Mapping
from typing import Any

from fewbits.report.page import Code, Facts, Number, Section
from fewbits.report.quantities import quantity
from fewbits.study.results import StudyResults

GIB = 1024**3


def how_measured(results: StudyResults) -> Section:
    """The section below the figures."""
    facts = [*_protocols(results), *(("data", each) for each in results.data), *machine_facts(results.machine)]
    facts += [("fewbits", results.fewbits)] if results.fewbits else []
    facts += [("other libraries", ", ".join(peers))] if (peers := _peers(results)) else []
    taken = sum(row.seconds or 0.0 for row in results.rows) + sum(s.seconds or 0.0 for s in results.sensitivities)
    facts += [("time taken", _duration(taken))] if taken else []
    parts: list[Any] = [Facts(facts=facts)]
    if results.command or results.file:
        parts += [
            "To make it again:",
            Code(text=results.command or shlex.join(["fewbits", "study", results.file, "-o", "DIR"])),
        ]
    if results.text:
        parts += ["The study's file:", Code(text=results.text.rstrip() + "\n")]
    return Section(title="How it was measured", parts=parts)


def _protocols(results: StudyResults) -> list[tuple[str, str]]:
    """For each measure the ways in which it was taken, and of how many tokens, images or runs."""
    found: dict[str, list[str]] = {}
    for row in results.rows:
        for name, measure in row.measures.items():
            if measure.protocol:
                count = f"; n = {measure.n:,}" if measure.n else ""
                found.setdefault(name, []).append(f"{measure.protocol}{count}")
    return [(quantity(name).head, " | ".join(dict.fromkeys(ways))) for name, ways in found.items()]


def machine_facts(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The machine in a few lines."""
    if not machine:
        return []
    told = [str(machine[key]) for key in ("cpu",) if machine.get(key)]
    if machine.get("cores"):
        told.append(f"{machine['cores']} cores")
    if machine.get("torch_threads"):
        told.append(f"{machine['torch_threads']} threads used")
    if machine.get("memory"):
        told.append(f"{machine['memory'] / GIB:.1f} GiB")
    told += [f"{gpu.get('name')}, {gpu.get('memory', 0) / GIB:.0f} GiB" for gpu in machine.get("gpus", ())]
    software = [f"{key} {machine[key]}" for key in ("python", "torch", "transformers", "cuda") if machine.get(key)]
    facts = [("machine", ", ".join(told)), ("system", ", ".join([str(machine["os"])] if machine.get("os") else []))]
    return [(name, value) for name, value in [*facts, ("software", ", ".join(software))] if value]


def _peers(results: StudyResults) -> list[str]:
    return list(dict.fromkeys(row.peer for row in results.rows if row.peer and row.error is None))


def _duration(seconds: Number) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

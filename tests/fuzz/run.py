"""Damage folders, load them, and report what came out: `python -m tests.fuzz.run CASES SEED`.

A case passes if the load gives exactly the tensors that were saved, or a FewbitsError of one short line. Other exceptions,
more than 10 s, a network access, code of the folder, and files written elsewhere are failures. Memory is limited. The last line
of standard output is JSON.
"""

import faulthandler
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import torch

from fewbits import FewbitsError
from tests.fuzz.mutations import MUTATIONS, SIGNED
from tests.fuzz.subjects import Subject, fingerprint, subjects
from tests.fuzz.watch import Watch

LIMIT = 10  # seconds for a case
MEMORY = 3 * 2**30  # bytes of address space beyond those in use before the first case
LONGEST = 500


class HangError(BaseException):
    """A case took longer than LIMIT; no `except Exception` catches it."""


def run(cases: int, seed: int, *, first: int = 0) -> dict[str, Any]:
    """Run some cases. Returns counts of outcomes, and the failures."""
    torch.set_num_threads(1)
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    slowest = (0.0, "")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "work").mkdir()
        made = subjects(place)
        watch = Watch(place)
        _limit_memory()
        with alarms():
            for case in range(first, first + cases):
                subject = made[case % len(made)]
                outcome, said, took = case_of(subject, place / "work", Random(f"{seed} {case}"), watch.seen)
                slowest = max(slowest, (took, f"{case} {subject.name} {said[:200]}"))
                outcomes[outcome] += 1
                if outcome not in ("same", "refused", "signed"):
                    failures.append({"case": case, "subject": subject.name, "outcome": outcome, "said": said})
    return {"cases": cases, "outcomes": dict(outcomes), "slowest": slowest, "failures": failures}


@contextmanager
def alarms() -> Iterator[None]:
    """Have SIGALRM raise HangError."""
    before = signal.signal(signal.SIGALRM, _hang)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def case_of(subject: Subject, work: Path, random: Random, seen: list[str]) -> tuple[str, str, float]:
    """Damage a copy of a folder and load it. Returns the outcome, what was done and said, and the seconds it took."""
    shutil.rmtree(work)
    folder = work / "folder"
    shutil.copytree(subject.folder, folder)
    done: list[str] = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        signal.alarm(LIMIT)
        try:
            done.append(random.choice(MUTATIONS)(folder, random))
        except (Exception, HangError):  # of any type: an earlier mutation left nothing to change
            done.append("not possible")
    seen.clear()
    faulthandler.dump_traceback_later(3 * LIMIT, exit=True)
    signal.alarm(LIMIT)
    begun = time.perf_counter()
    try:
        outcome, said = _outcome(subject, folder, done)
    except HangError:
        outcome, said = "hang", ""
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    if seen:
        outcome, said = "forbidden", "; ".join(seen[:3])
    return outcome, f"{done}: {said}", round(time.perf_counter() - begun, 2)


def _outcome(subject: Subject, folder: Path, done: list[str]) -> tuple[str, str]:
    try:
        model = subject.load(folder)
    except FewbitsError as error:
        text = str(error)
        return ("refused", text) if text.isprintable() and len(text) <= LONGEST else ("long message", text[:2000])
    except Exception as error:  # what the fuzzer looks for
        return "traceback", f"{type(error).__name__}: {error}"[:300] + traceback.format_exc()[-1500:]
    return _compare(subject, model, folder, done)


def _compare(subject: Subject, model: Any, folder: Path, done: list[str]) -> tuple[str, str]:
    found = fingerprint(model)
    if found == subject.state:
        return "same", ""
    if any(each.startswith(SIGNED) for each in done):
        return "signed", ""  # the weights were changed and the checksums with them
    if not subject.saved and (_weights_changed(subject, folder) or _dtype_changed(subject, folder)):
        return "signed", ""  # nothing tells that the weights of a float model are others
    names = sorted(name for name in {*found, *subject.state} if found.get(name) != subject.state.get(name))
    return "other tensors", ", ".join(f"{name}: {subject.state.get(name)} -> {found.get(name)}" for name in names[:3])


def _weights_changed(subject: Subject, folder: Path) -> bool:
    return any(_bytes(path) != _bytes(folder / path.name) for path in subject.folder.glob("*.safetensors"))


def _dtype_changed(subject: Subject, folder: Path) -> bool:
    one, other = (json.loads((place / "config.json").read_text()) for place in (subject.folder, folder))
    return any(one.get(key) != other.get(key) for key in ("dtype", "torch_dtype"))


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _hang(*_: object) -> None:
    traceback.print_stack(file=sys.stderr)
    raise HangError


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    report = run(int(sys.argv[1]), int(sys.argv[2]), first=int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(json.dumps(report))
    sys.exit(bool(report["failures"]))

"""A tuned model as a saved folder: the model, plan.yaml, and the report beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fewbits
from fewbits import machine, strictjson
from fewbits.apply import plan_of, quantize
from fewbits.cli.commandline import command_line
from fewbits.cli.show_search import notes
from fewbits.evaluate.row import Row
from fewbits.measure.size import file_size, size
from fewbits.report.files import write_text
from fewbits.report.html import write_page
from fewbits.report.markdown import to_markdown
from fewbits.report.page import Page
from fewbits.report.search.page import tuned_page
from fewbits.search.code import code_digest
from fewbits.search.explain import layer_facts
from fewbits.search.outcome import Tuned
from fewbits.search.record import tuned_csv, tuned_record
from fewbits.search.seek import Search
from fewbits.search.subject import Subject
from fewbits.storage.folder import Output
from fewbits.storage.save import save_to


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Writes into the folder while it is not yet in its place, so that model and report appear together."""

    write: Callable[[Path], None]

    def save_pretrained(self, save_directory: str | Path) -> None:
        self.write(Path(save_directory))


@dataclass(frozen=True, kw_only=True)
class Both:
    """The model's own tokenizer or processor, if there is one, and the report."""

    own: Any
    beside: Beside

    def save_pretrained(self, save_directory: str | Path) -> None:
        if self.own is not None:
            self.own.save_pretrained(save_directory)
        self.beside.save_pretrained(save_directory)


def save_tuned(subject: Subject, search: Search, tuned: Tuned, output: Output) -> Row:
    """Quantize by the plan and save all of it. The row has what was measured."""
    loaded, chosen = subject.loaded, tuned.chosen
    if chosen.evidence is None:
        raise ValueError("the chosen plan is verified")
    tuned = search.with_landscape(tuned)
    facts = layer_facts(search.trial, subject.data.choose.tensor())
    told = [*notes(subject.sources, tuned.protocol), ("code", code_digest())]
    page = tuned_page(loaded.name, tuned, facts, told, command_line())
    before = size(loaded.model)
    quantize(loaded.model, tuned.plan)
    after = size(loaded.model)
    measures = (after, *chosen.evidence.measures(tuned.protocol, tuned.digests["verified on"]), *tuned.speeds.values())
    record = tuned_record(tuned, facts)

    def write(place: Path) -> None:
        write_report(page, place)
        write_text(tuned_csv(tuned), place / "tune.csv")
        document = {"fewbits": fewbits.__version__, "machine": machine.describe(), "command": command_line(), "tune": record}
        write_text(strictjson.dumps(document) + "\n", place / "tune.json")

    folder = save_to(
        output,
        loaded.model,
        tokenizer=Both(own=loaded.tokenizer, beside=Beside(write=write)),
        processor=loaded.processor,
        measures=measures,
        source=loaded.source,
    )
    extra = {"original": before.to_dict(), "folder": str(folder), "file_size": file_size(folder).to_dict()}
    return Row(model=loaded.name, plan=plan_of(loaded.model), measures={m.name: m for m in measures}, extra=extra)


def write_report(page: Page, folder: Path) -> None:
    """The page, and the same as Markdown."""
    write_page(page, folder / "report.html")
    write_text(to_markdown(page), folder / "report.md")

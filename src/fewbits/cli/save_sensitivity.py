"""Sensitivities as a page, JSON and CSV."""

from pathlib import Path

import fewbits
from fewbits import machine, strictjson
from fewbits.cli.commandline import command_line
from fewbits.cli.save_tuned import write_report
from fewbits.cli.show_search import notes
from fewbits.report.files import write_text
from fewbits.report.search.page import sensitivity_page
from fewbits.search.code import code_digest
from fewbits.search.explain import layer_facts
from fewbits.search.record import sensitivity_csv, sensitivity_record
from fewbits.search.seek import Search
from fewbits.search.subject import Subject


def save_sensitivity(subject: Subject, search: Search, folder: Path) -> None:
    """Write report.html, report.md, sensitivity.json and sensitivity.csv."""
    found = search.sensitivities
    facts = layer_facts(search.trial, subject.data.choose.tensor())
    told = [
        *notes(subject.sources[:1], f"{search.settings.samples} backward passes"),
        *search.digests.items(),
        ("code", code_digest()),
    ]
    page = sensitivity_page(subject.loaded.name, found, facts, told, command_line())
    document = {"fewbits": fewbits.__version__, "machine": machine.describe(), "command": command_line()}
    document["sensitivity"] = sensitivity_record(found, facts)
    write_text(sensitivity_csv(found), folder / "sensitivity.csv")
    write_text(strictjson.dumps(document) + "\n", folder / "sensitivity.json")
    write_report(page, folder)

"""`fewbits report`: the pages and tables of a study, made again from its results."""

from pathlib import Path
from typing import Annotated

import typer

from fewbits.cli.options import json_option


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a study, with its results.json.")],
    json: json_option = False,
) -> None:
    """Make report.html, report.md and results.csv of a study again; nothing is measured.

    \b
    fewbits study demo -o runs/demo
    fewbits report runs/demo
    """
    from fewbits.report import study
    from fewbits.study.saved import load

    results = load(folder)
    for path in study.write(results, folder):
        print(path)
    if json:
        from fewbits.cli import show

        show.document([row.row() for row in results.rows])

"""`fewbits study`: models x plans x measures from one file, resumable, ending in a report."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewbits.cli.options import device_option, json_option, set_threads, threads_option, trust_option

if TYPE_CHECKING:
    from fewbits.study.executors import Run
    from fewbits.study.results import StudyResults

_WHAT, _WHERE = "What is studied", "Where it is done"


def command(
    file: Annotated[str, typer.Argument(metavar="FILE.yaml", help="A study, or the name of one that ships, such as demo.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Results; a study goes on where it stopped.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", rich_help_panel=_WHAT, help="In place of the file's; repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", rich_help_panel=_WHAT, help="In place of the file's text or images.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=2, metavar="N", rich_help_panel=_WHAT, help="Tokens of the text.")
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_WHAT, help="N images, the first of each class.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, metavar="N", rich_help_panel=_WHAT, help="Runs of each timing.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="GLOB", rich_help_panel=_WHAT, help="Only rows whose name or model matches.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", rich_help_panel=_WHAT, help="Also do again what is done already.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=_WHAT, help="Tell what would be done, and do nothing.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=_WHERE, help="Processes, which share the CPU's threads.")
    ] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", rich_help_panel=_WHERE, help="On a Ray cluster: auto, or HOST:6379.")
    ] = None,
    device: device_option = "cpu",
    threads: threads_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Run a study, or go on with one: every row is kept as soon as it is done, and a failing row does not end the others.

    Exits with 1 if a row failed.

    \b
    fewbits study demo -o runs/demo
    fewbits study studies/llama-wikitext2.yaml -o runs/llama --model my-llama --data book.txt
    fewbits study my.yaml -o runs/my --only 'hqq*' --dry-run
    """
    from fewbits.cli import show, show_study
    from fewbits.cli.commandline import command_line
    from fewbits.study import reading
    from fewbits.study.run import look, run

    _check_device(device, ray)
    spec = reading.override(
        reading.read(reading.find(file)),
        models=tuple(model or ()),
        data=data,
        max_tokens=max_tokens,
        max_images=max_images,
        repeats=repeats,
        device=device if device != "cpu" else None,
        trust_remote_code=trust_remote_code or None,
    )
    if dry_run:
        show_study.todo(look(spec, output, only))
        return
    execute = _executor(workers, ray, threads)
    found = run(
        spec,
        output,
        only=only,
        force=force,
        execute=execute,
        workers=workers,
        command=command_line(),
        tell=show_study.tell,
    )
    show_study.studied(found, output, _report(found, output))
    if json:
        show.document([row.row() for row in found.rows])
    if lines := show_study.failed(found, only):
        show_study.failures(lines)
        raise typer.Exit(1)


def _check_device(device: str, ray: str | None) -> None:
    """Raise FewbitsError for a device that is unknown or not there, before any row is tried. A cluster has its own."""
    from fewbits.errors import FewbitsError

    if device == "cpu":
        return
    if ray is None:
        from fewbits.models.options import parse_device

        parse_device(device)
    elif not re.fullmatch(r"cuda(:\d+)?", device):
        raise FewbitsError(f"unknown device '{device}': cpu, or cuda, cuda:1, ...")


def _report(found: "StudyResults", folder: Path) -> str | None:
    """Write the report; return why there is none where it cannot be drawn. The results are safe in any case."""
    from fewbits.errors import FewbitsError
    from fewbits.report import study

    try:
        study.write(found, folder)
    except FewbitsError as error:
        return f"no report.html: {error}; then: fewbits report {folder}"
    return None


def _executor(workers: int, ray: str | None, threads: int | None) -> "Run":
    from fewbits.errors import FewbitsError
    from fewbits.machine import usable_threads
    from fewbits.study import executors

    if ray is not None and workers > 1:
        raise FewbitsError("--workers and --ray exclude each other: the cluster has workers of its own")
    if ray is not None:
        from fewbits.study import cluster

        return cluster.ray(ray, threads or 1)
    if workers > 1:
        return executors.processes(workers, threads or max(1, usable_threads() // workers))
    set_threads(threads)
    return executors.in_process

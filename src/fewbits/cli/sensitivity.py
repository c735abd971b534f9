"""`fewbits sensitivity`: what each layer loses in each scheme."""

from pathlib import Path
from typing import Annotated

import typer

from fewbits.cli import tuning
from fewbits.cli.options import (
    classes_option,
    device_option,
    json_option,
    rules_option,
    seed_option,
    skip_option,
    threads_option,
    trust_option,
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, timm/NAME, demo or demo-vision.")],
    candidate: tuning.candidate_option = None,
    cheap: Annotated[
        bool, typer.Option("--cheap", rich_help_panel="Search", help="From gradients alone: seconds, nothing is measured.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", rich_help_panel="Output", help="Page, JSON and CSV go here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", rich_help_panel="Output", help="Replace files that are there.")] = False,
    rule: rules_option = None,
    skip: skip_option = None,
    include: tuning.include_option = None,
    together: tuning.together_option = None,
    samples: tuning.samples_option = 64,
    text: tuning.text_option = None,
    images: tuning.images_option = None,
    tokens: tuning.tokens_option = 1024,
    choose: tuning.choose_option = 200,
    classes: classes_option = None,
    device: device_option = "cpu",
    threads: threads_option = None,
    seed: seed_option = 0,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Tell the loss of each layer in each scheme: measured one layer at a time, and cheaply, from gradients, beside it.

    \b
    fewbits sensitivity demo
    fewbits sensitivity demo --candidate hqq:uint2g64 --candidate hqq:uint4g64 -o layers
    fewbits sensitivity demo-vision --cheap --json
    """
    from fewbits.cli import show_search
    from fewbits.search.settings import DataSettings, Settings

    names = ("report.html", "report.md", "sensitivity.json", "sensitivity.csv")
    if output is not None:
        _check(output, names, force=force)
    data = DataSettings(text=text, images=images, tokens=tokens, choose=choose, samples=samples, seed=seed)
    asked = tuning.Question(
        model=model,
        data=data,
        settings=Settings(samples=samples, measure=not cheap, seed=seed),
        candidates=tuple(candidate or tuning.SIX),
        rules=tuple(rule or ()),
        skip=tuple(skip or ()),
        include=tuple(include or ()),
        together=tuple(together or ()),
        classes=classes,
        device=device,
        threads=threads,
        trust_remote_code=trust_remote_code,
    )
    found = tuning.searched(asked)
    search = found.search
    show_search.sensitivity(model, search.sensitivities, found.subject.data.choose.unit)
    if output is not None:
        from fewbits.cli.save_sensitivity import save_sensitivity

        save_sensitivity(found.subject, search, output)
        show_search.written(output)
    if json:
        show_search.sensitivity_document(model, search.sensitivities)


def _check(folder: Path, names: tuple[str, ...], *, force: bool) -> None:
    from fewbits.errors import FewbitsError

    if folder.exists() and not folder.is_dir():
        raise FewbitsError(f"{folder}: is a file, not a folder")
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise FewbitsError(f"{folder / there[0]}: exists already: choose another folder, or replace it with --force")

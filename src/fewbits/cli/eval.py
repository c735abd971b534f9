"""`fewbits eval`: size, quality and speed of models and saved folders, side by side."""

from typing import Annotated

import typer

from fewbits.cli.options import (
    classes_option,
    device_option,
    json_option,
    misfit_option,
    set_threads,
    threads_option,
    trust_option,
)

_DATA, _MEASURES = "Data", "Measures"


def command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models or folders saved by fewbits.")],
    scheme: Annotated[
        list[str] | None,
        typer.Option("--scheme", metavar="SCHEME", help="Also measure the first model under this scheme; repeatable."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="FILE", rich_help_panel=_DATA, help="Plain text, or wikitext2 (hub), or demo.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=2, metavar="N", rich_help_panel=_DATA, help="Tokens of it.")] = 20_000,
    protocol: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel=_DATA, help="windows:N, plain:N, stride:WINDOW:STEP or sentences."),
    ] = "windows:512",
    images: Annotated[
        str | None,
        typer.Option(metavar="FILE.npz", rich_help_panel=_DATA, help="Or a folder of classes, cifar100 (hub), or demo."),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_DATA, help="N of them, the first of each class.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL", rich_help_panel=_MEASURES, help="For kl and top1; a saved folder remembers its own."),
    ] = None,
    arithmetic: Annotated[
        str,
        typer.Option(
            metavar="exact|kernels",
            rich_help_panel=_MEASURES,
            help="For quality: kernels counts in how the CPU kernels round activations.",
        ),
    ] = "exact",
    measure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", rich_help_panel=_MEASURES, help="Only these; repeatable. All that apply by default."),
    ] = None,
    prompt: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=_MEASURES, help="Tokens read in speeds.")] = 64,
    new_tokens: Annotated[int, typer.Option(min=2, metavar="N", rich_help_panel=_MEASURES, help="Tokens generated.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=_MEASURES, help="Runs of each timing.")] = 5,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_MEASURES, help="Inputs at a time.")
    ] = None,
    on_misfit: misfit_option = "error",
    classes: classes_option = None,
    device: device_option = "cpu",
    dtype: Annotated[
        str | None,
        typer.Option(metavar="TYPE", rich_help_panel="Machine", help="Arithmetic: float32 on the CPU, else as stored."),
    ] = None,
    threads: threads_option = None,
    seed: Annotated[int, typer.Option(metavar="N", rich_help_panel="Machine", help="For prompts made at random.")] = 0,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Measure models side by side: bytes, perplexity or accuracy, divergence from the original, speed, memory.

    \b
    fewbits eval demo --scheme rtn:int8 --scheme hqq:uint4g64 --scheme nf4g64
    fewbits eval demo-4bit --text book.txt --protocol stride:1024:512 --measure ppl --measure kl
    fewbits eval demo-vision digits-4bit --json
    """
    from fewbits.cli import show
    from fewbits.evaluate.compare import evaluate
    from fewbits.evaluate.settings import Settings
    from fewbits.plan import misfit_named

    set_threads(threads)
    settings = Settings(
        text=text,
        max_tokens=max_tokens,
        protocol=protocol,
        images=images,
        max_images=max_images,
        reference=reference,
        measures=tuple(measure or ()),
        prompt=prompt,
        new_tokens=new_tokens,
        repeats=repeats,
        batch_size=batch_size,
        on_misfit=misfit_named(on_misfit),
        classes=classes,
        device=device,
        dtype=dtype,
        arithmetic=arithmetic,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    rows = evaluate(models, scheme or [], settings)
    show.evaluated(rows)
    if json:
        show.document(rows)
    if any(row.failed for row in rows):
        raise typer.Exit(1)

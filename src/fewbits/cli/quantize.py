"""`fewbits quantize`: a model and a plan in, a saved folder out."""

from pathlib import Path
from typing import Annotated

import typer

from fewbits.cli.options import (
    classes_option,
    device_option,
    json_option,
    misfit_option,
    plan_from,
    recipe_option,
    rules_option,
    set_threads,
    skip_option,
    threads_option,
    trust_option,
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, timm/NAME, demo or demo-vision.")],
    scheme: Annotated[
        str | None, typer.Argument(metavar="SCHEME", help="For all layers that no rule reaches, such as hqq:uint4g64.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", rich_help_panel="Output", help="Folder to save the model in.")
    ] = ...,  # type: ignore[assignment]
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Replace the folder if it holds a saved model.")
    ] = False,
    max_shard_size: Annotated[
        str, typer.Option(metavar="SIZE", rich_help_panel="Output", help="Split the weights into files of at most this.")
    ] = "5GB",
    rule: rules_option = None,
    skip: skip_option = None,
    recipe: recipe_option = None,
    on_misfit: misfit_option = "error",
    classes: classes_option = None,
    device: device_option = "cpu",
    threads: threads_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Quantize a model and save it, with its plan, its size and a card.

    \b
    fewbits quantize demo hqq:uint4g64 -o demo-4bit
    fewbits quantize demo -o attention-8bit --rule '*attn*=rtn:int8' --rule '*=keep'
    fewbits quantize meta-llama/Llama-3.2-1B nf4g64/q8 -o llama-nf4 --rule 'lm_head=rtn:int8'
    """
    from fewbits.cli import show
    from fewbits.evaluate.saving import quantize_to

    plan = plan_from(scheme, rule, skip, recipe, on_misfit)
    set_threads(threads)
    row = quantize_to(
        model,
        plan,
        output,
        force=force,
        max_shard_size=max_shard_size,
        classes=classes,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    show.quantized(row, output)
    if json:
        show.document([row])

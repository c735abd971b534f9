"""`fewbits generate`: text from a language model, as it comes."""

from typing import Annotated

import typer

from fewbits.cli.options import (
    device_option,
    dtype_option,
    json_option,
    seed_option,
    set_threads,
    threads_option,
    trust_option,
)

_WRITING = "Writing"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, a folder saved by fewbits, or demo.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to go on from.")],
    scheme: Annotated[
        str | None, typer.Option(metavar="SCHEME", help="Quantize the model first, such as hqq:uint4g64.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=_WRITING, help="At most so many tokens.")
    ] = 128,
    temperature: Annotated[
        float, typer.Option(min=0, metavar="T", rich_help_panel=_WRITING, help="0 takes the likeliest token each time.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", rich_help_panel=_WRITING, help="Draw from the likeliest tokens that make up P.")
    ] = 1.0,
    seed: seed_option = 0,
    device: device_option = "cpu",
    dtype: dtype_option = None,
    threads: threads_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Write on from a prompt; the text is printed as it comes, and at the end how fast it came (on standard error).

    \b
    fewbits generate demo "The list of files is"
    fewbits generate demo "The list of files is" --scheme hqq:uint4g64 --max-new-tokens 64
    fewbits generate llama-4bit "Once upon a time" --temperature 0.8 --top-p 0.95 --seed 1
    """
    from fewbits.storage import light

    begun = light.begin(model, device) if scheme is None and dtype is None else None  # before PyTorch is imported
    from fewbits.cli import show
    from fewbits.evaluate.writing import Writing, write

    set_threads(threads)
    settings = Writing(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        scheme=scheme,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    row = write(model, prompt, settings, show.piece, begun)
    show.written(row)
    if json:
        show.document([row])

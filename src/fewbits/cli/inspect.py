"""`fewbits inspect`: one layer seen closely, for teaching and for debugging."""

from pathlib import Path
from typing import Annotated

import typer

from fewbits.cli.options import classes_option, json_option, trust_option


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, timm/NAME, demo or demo-vision.")],
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="A layer's name, or a glob that matches one.")],
    scheme: Annotated[
        str | None,
        typer.Argument(metavar="[SCHEME]", help="What to do to it, such as hqq:uint4g64; a saved model brings its own."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", rich_help_panel="Output", help="Write a page too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", rich_help_panel="Output", help="Replace the page if it is there.")] = False,
    classes: classes_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Look at one layer: its weights, the grid over them, the errors, the worst weights, and the very bits that are stored.

    \b
    fewbits inspect demo model.layers.0.mlp.down_proj hqq:uint4g64
    fewbits inspect demo '*.3.self_attn.q_proj' nf4g64/q8 -o q3.html
    fewbits inspect demo-4bit '*.7.mlp.up_proj'
    """
    from fewbits.cli import show_layer
    from fewbits.cli.commandline import command_line
    from fewbits.errors import FewbitsError
    from fewbits.inspect.look import inspect_layer
    from fewbits.report import layer as page
    from fewbits.whole import check_replaceable

    if output is not None:
        check_replaceable(output)
    if output is not None and output.exists() and (output.is_dir() or not force):
        way = "give the name of a file" if output.is_dir() else "--force replaces it"
        raise FewbitsError(f"{output}: is there already: {way}")
    found = inspect_layer(model, layer, scheme, classes=classes, trust_remote_code=trust_remote_code)
    show_layer.layer(found)
    if output is not None:
        page.write(found, output, command_line())
        print(f"page: {output}")
    if json:
        show_layer.document(found)

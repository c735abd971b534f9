"""`fewbits size`: what a model takes in each scheme, told from its configuration; no weights are read."""

from typing import Annotated

import typer

from fewbits.cli.options import (
    classes_option,
    json_option,
    misfit_option,
    plan_from,
    recipe_option,
    rules_option,
    skip_option,
    trust_option,
)


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, timm/NAME, demo or demo-vision.")],
    schemes: Annotated[list[str] | None, typer.Argument(metavar="SCHEME...", help="Such as uint4g64 nf4g64/q8.")] = None,
    rule: rules_option = None,
    skip: skip_option = None,
    recipe: recipe_option = None,
    on_misfit: misfit_option = "error",
    classes: classes_option = None,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Tell the size of a model in each scheme, to the last byte, from its configuration alone.

    \b
    fewbits size demo uint8g64 uint4g64 nf4g64/q8
    fewbits size meta-llama/Llama-3.2-1B uint4g64 --rule 'lm_head=int8'
    fewbits size timm/deit3_small_patch16_224 uint3g32/f32 --classes 100 --on-misfit keep
    """
    from fewbits.models.quiet import uncollected

    with uncollected():
        from fewbits.cli import show
        from fewbits.evaluate.planned import planned_rows

        wanted: list[str | None] = [*(schemes or ())]
        if not wanted and (rule or recipe):
            wanted = [None]
        plans = [plan_from(s, rule, skip, recipe, on_misfit) for s in wanted]
        rows = planned_rows(model, plans, classes=classes, trust_remote_code=trust_remote_code)
    show.sizes(rows)
    if json:
        show.document(rows)

"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fewbits.plan import Plan


def _version(wanted: bool | None) -> None:
    if wanted:
        from fewbits import __version__

        print(f"fewbits {__version__}")
        raise typer.Exit


version_option = Annotated[
    bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
]

MOST_THREADS = max(64, 4 * (os.cpu_count() or 1))  # native/threads.cpp uses no more either
_PLAN, _MACHINE, _OUTPUT = "What is quantized", "Machine", "Output"

rules_option = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="GLOB=SCHEME",
        rich_help_panel=_PLAN,
        help="Give matching layers a scheme, or [bold]keep[/bold]; repeatable, the first match wins.",
    ),
]
skip_option = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="GLOB", rich_help_panel=_PLAN, help="Keep matching layers as they are; repeatable."),
]
recipe_option = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE.yaml", rich_help_panel=_PLAN, help="Rules from a file, or from a saved plan.yaml."),
]
misfit_option = Annotated[
    str,
    typer.Option(
        "--on-misfit",
        metavar="error|keep|channel",
        rich_help_panel=_PLAN,
        help="Where a group does not divide a layer: stop, keep the layer, or one scale per output channel.",
    ),
]
classes_option = Annotated[
    int | None,
    typer.Option("--classes", min=1, metavar="N", rich_help_panel=_PLAN, help="Number of classes of a timm model's head."),
]
device_option = Annotated[str, typer.Option("--device", metavar="cpu|cuda", rich_help_panel=_MACHINE, help="Where to work.")]
threads_option = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, max=MOST_THREADS, metavar="N", rich_help_panel=_MACHINE, help="CPU threads; all by default."
    ),
]
trust_option = Annotated[
    bool,
    typer.Option("--trust-remote-code", rich_help_panel=_MACHINE, help="Run Python code that comes with a hub model."),
]
seed_option = Annotated[int, typer.Option("--seed", metavar="N", rich_help_panel=_MACHINE, help="For what is drawn at random.")]
dtype_option = Annotated[
    str | None,
    typer.Option("--dtype", metavar="TYPE", rich_help_panel=_MACHINE, help="Arithmetic: float32 on the CPU, else as stored."),
]
json_option = Annotated[
    bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="The last line of standard output is one JSON document.")
]


def plan_from(scheme: str | None, rules: list[str] | None, skip: list[str] | None, recipe: Path | None, misfit: str) -> "Plan":
    """One plan of all that was asked for: what to skip, then the rules, then the recipe's, then the scheme for the rest."""
    from fewbits import planfile
    from fewbits.errors import FewbitsError
    from fewbits.plan import Plan, Rule, misfit_named
    from fewbits.scheme import parse_target

    on_misfit = misfit_named(misfit)
    found = [Rule(match=pattern, scheme=None) for pattern in skip or ()]
    found += [Rule.parse(rule) for rule in rules or ()]
    if recipe is not None:
        read = planfile.read(recipe)
        found += read.rules
        on_misfit = read.on_misfit if on_misfit == "error" else on_misfit
    if scheme is not None:
        found.append(Rule(match="*", scheme=parse_target(scheme)))
    if not any(rule.scheme for rule in found) and scheme is None:
        raise FewbitsError("no scheme: give one (such as hqq:uint4g64), or --rule GLOB=SCHEME, or --recipe FILE.yaml")
    return Plan(rules=tuple(found), on_misfit=on_misfit)


def set_threads(threads: int | None) -> None:
    """Limit torch's threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)

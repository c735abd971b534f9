"""The commands of `fewbits`, and what becomes of errors."""

import os
import sys

import typer

from fewbits.cli import bench, doctor, eval, generate, inspect, quantize, report, sensitivity, size, study, tune
from fewbits.cli.options import version_option
from fewbits.errors import FewbitsError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: [bold]fewbits eval demo --scheme hqq:uint4g64[/bold]",
)
app.command("quantize", no_args_is_help=True)(quantize.command)
app.command("eval", no_args_is_help=True)(eval.command)
app.command("generate", no_args_is_help=True)(generate.command)
app.command("sensitivity", no_args_is_help=True)(sensitivity.command)
app.command("tune", no_args_is_help=True)(tune.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.command("study", no_args_is_help=True)(study.command)
app.command("report", no_args_is_help=True)(report.command)
app.command("inspect", no_args_is_help=True)(inspect.command)
app.command("size", no_args_is_help=True)(size.command)


@app.callback()
def about(version: version_option = None) -> None:
    """Make trained networks small, and measure what it costs.

    MODEL is a hub id, a folder, timm/NAME, [bold]demo[/bold] (a small language model that comes along) or
    [bold]demo-vision[/bold]. SCHEME is [bold]\\[METHOD:]FORMAT[/bold], such as hqq:uint4g64, rtn:int8, nf4g64/q8.
    """


def main() -> None:
    """Run the command line. Bad input ends in one line and exit code 2; an interruption in 130."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        app()
    except FewbitsError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:  # `fewbits size ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _fail(message: str, code: int) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]error:[/] ", end="")
    print(message, file=sys.stderr)
    sys.exit(code)

"""The commands of `fewbits`, and what becomes of errors."""

import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from fewbits.cli import bench, doctor, eval, generate, inspect, quantize, report, sensitivity, size, stopping, study, tune
from fewbits.cli.arguments import checked
from fewbits.cli.options import version_option
from fewbits.errors import FewbitsError, printable

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: [bold]fewbits eval demo --scheme hqq:uint4g64[/bold]",
)
app.command("quantize", no_args_is_help=True)(checked(quantize.command))
app.command("eval", no_args_is_help=True)(checked(eval.command))
app.command("generate", no_args_is_help=True)(checked(generate.command))
app.command("sensitivity", no_args_is_help=True)(checked(sensitivity.command))
app.command("tune", no_args_is_help=True)(checked(tune.command))
app.command("doctor")(checked(doctor.command))
app.command("bench")(checked(bench.command))
app.command("study", no_args_is_help=True)(checked(study.command))
app.command("report", no_args_is_help=True)(checked(report.command))
app.command("inspect", no_args_is_help=True)(checked(inspect.command))
app.command("size", no_args_is_help=True)(checked(size.command))


USAGE_ERROR: Any = typer.BadParameter.__mro__[2]  # click's ClickException; newer versions of Typer have a copy of their own


@app.callback()
def about(version: version_option = None) -> None:
    """Make trained networks small, and measure what it costs.

    MODEL is a hub id, a folder, timm/NAME, [bold]demo[/bold] (a small language model that comes along) or
    [bold]demo-vision[/bold]. SCHEME is [bold]\\[METHOD:]FORMAT[/bold], such as hqq:uint4g64, rtn:int8, nf4g64/q8.
    """


def main() -> None:
    """Run the command line. Bad input ends in one line and exit code 2; a signal in 128 and its number."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        _run()
    finally:
        stopping.flush(_fail)


def _run() -> None:
    try:
        with stopping.stoppable(_fail):
            _check_folder()
            code = app(standalone_mode=False)
        sys.exit(code)
    except FewbitsError as error:
        _fail(str(error), 2)
    except USAGE_ERROR as error:
        _end_usage(error)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:  # `fewbits size ... | head`
        stopping.drop_output()
        sys.exit(141)
    except MemoryError as error:
        _fail(f"out of memory{f': {error}' if str(error) else ''}. Choose a smaller model, batch or context", 1)
    except OSError as error:
        stopping.drop_output()
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)
    except Exception as error:
        if os.environ.get("FEWBITS_DEBUG"):
            raise
        _fail(f"internal error, {type(error).__name__}: {error}. Set FEWBITS_DEBUG=1 to see the traceback, and report it", 1)


def _check_folder() -> None:
    """Raise FewbitsError if the current folder was removed: no relative path means anything then."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise FewbitsError("the current folder no longer exists: change to another one") from None


def _end_usage(error: Any) -> None:
    """End after a wrong command line, with what is wrong in one line. A command without arguments has printed its help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fewbits"
    stop = "" if message.endswith("?") else "."
    _fail(f"{message}{_given(message)}{stop} See '{command} --help'", error.exit_code)


def _given(message: str) -> str:
    """The value of the option that a message names: not every version of Typer says it."""
    option = re.search(r"'(--?[a-z-]+)'", message)
    if option is None or not message.startswith("Invalid value"):
        return ""
    for at, argument in enumerate(sys.argv):
        name, equals, value = argument.partition("=")
        if name == option[1]:
            value = value if equals else "".join(sys.argv[at + 1 : at + 2])
            said = re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", message)
            return "" if said else f", not '{printable(value, 60)}'"
    return ""


def _fail(message: str, code: int) -> NoReturn:
    """Print the message on one line of bounded length, and end."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]error:[/] ", end="")
    print(printable(message), file=sys.stderr)
    sys.exit(code)

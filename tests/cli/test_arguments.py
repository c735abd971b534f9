"""Every argument of every command is checked before its work begins."""

import inspect

import pytest

from fewbits.cli import bench, doctor, eval, generate, quantize, sensitivity, size, study, tune
from fewbits.cli.arguments import checked
from fewbits.errors import FewbitsError
from tests.cli.running import Runner, refused

COMMANDS = {
    "bench": bench, "doctor": doctor, "eval": eval, "generate": generate, "quantize": quantize, "sensitivity": sensitivity,
    "size": size, "study": study, "tune": tune,
}  # fmt: skip
ARGUMENTS = {"generate": ["demo", "hi"], "size": ["demo", "uint4"], "quantize": ["demo", "uint4"], "bench": []}


def _numbers() -> list[tuple[str, str]]:
    return [
        (name, option)
        for name, module in COMMANDS.items()
        for option, parameter in inspect.signature(module.command).parameters.items()
        if any(kind in str(parameter.annotation) for kind in ("int", "float")) and not option.startswith("json")
    ]


@pytest.mark.parametrize(("command", "option"), [pair for pair in _numbers() if "bool" not in pair[1]])
@pytest.mark.parametrize("value", ["99999999999999999999999", "-99999999999999999999999", "nan", "1e999"])
def test_no_number_is_huge_or_nan(fewbits: Runner, command: str, option: str, value: str) -> None:
    ended = fewbits(command, *ARGUMENTS.get(command, ["demo"]), f"--{option.replace('_', '-')}={value}")
    refused(ended)


def test_numbers_were_found() -> None:
    assert {("eval", "max_tokens"), ("generate", "temperature"), ("tune", "context")} <= set(_numbers())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_text_that_is_not_utf8_is_refused(fewbits: Runner, command: str) -> None:
    refused(
        fewbits(command, *ARGUMENTS.get(command, ["demo"])[:-1], "--scheme=\udcff\udcfe" if command == "bench" else "\udcff")
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["eval", "demo", "--max-tokens", "1"], "not '1'"),
        (["eval", "demo", "--max-tokens=x"], "not 'x'"),
        (["eval", "demo", "--nope"], "--nope"),
        (["quantise", "demo"], "Did you mean 'quantize'?"),
        (["size", "demo", "x" * 5000], "5,000 characters"),
        (["generate", "demo", "hi", "--temperature", "inf"], "temperature is inf"),
    ],
)
def test_one_line_names_what_is_wrong(fewbits: Runner, arguments: list[str], part: str) -> None:
    refused(fewbits(*arguments), part)


def test_without_arguments_help_is_printed(fewbits: Runner) -> None:
    ended = fewbits("eval")
    assert ended.code == 2 and "error" not in ended.err and "MODEL" in ended.out + ended.err


def test_values_of_a_list_are_checked_one_by_one() -> None:
    def command(*, batch: list[int]) -> None:
        raise AssertionError("the work began")

    with pytest.raises(FewbitsError, match="batch is 9999999999"):
        checked(command)(batch=[1, 9_999_999_999])


def test_a_shape_larger_than_memory_is_refused(fewbits: Runner) -> None:
    refused(fewbits("bench", "--shape", "1000000x1000000"), "1000000x1000000", "GiB")
    refused(fewbits("bench", "--shape", "99999999999x99999999999"), "99999999999x99999999999")
    refused(fewbits("bench", "--shape", "²x²"), "OUTPUTSxINPUTS")
    refused(fewbits("bench", "--shape", "0x64"), "0x64")

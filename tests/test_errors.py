"""Messages are one printable line of bounded length, whatever is in them."""

import pickle
import time

import pytest

from fewbits.errors import LONGEST, FewbitsError, MisfitError, printable, shown


def test_a_short_message_is_left_alone() -> None:
    assert str(FewbitsError("layer a: 3 bits: use 4 (é, ü, 日本)")) == "layer a: 3 bits: use 4 (é, ü, 日本)"


def test_line_breaks_and_control_characters() -> None:
    text = str(FewbitsError("a\nb\r\nc\td\x1b[31m\x00\u202e\ud800"))
    assert text == "a b  c d\\x1b[31m\\x00\\u202e\\ud800"
    assert text.isprintable()


@pytest.mark.parametrize("size", [LONGEST + 1, 5_000, 50_000_000])
def test_a_long_message_keeps_its_ends(size: int) -> None:
    begun = time.perf_counter()
    text = str(FewbitsError("file: " + "\x00x" * (size // 2) + ": the way out"))
    assert len(text) == LONGEST
    assert text.startswith("file: ") and text.endswith(": the way out")
    assert time.perf_counter() - begun < 1


def test_a_message_around_another_stays_short() -> None:
    inner = FewbitsError("x" * 1000)
    assert len(str(FewbitsError(f"{'folder' * 100}: {inner}"))) == LONGEST


@pytest.mark.parametrize("kind", [FewbitsError, MisfitError])
def test_it_is_pickled_as_workers_need(kind: type[FewbitsError]) -> None:
    error = pickle.loads(pickle.dumps(kind("a\nb")))
    assert type(error) is kind and str(error) == "a b"


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        list(range(10**6)),
        {i: {i: i} for i in range(10**5)},
        pytest.param(10**5000, id="digits"),
        "\n",
        b"\0" * 10**6,
    ],
)
def test_values_of_any_size_are_shown_in_a_few_characters(value: object) -> None:
    begun = time.perf_counter()
    text = shown(value)
    assert len(text) <= 80 and text.isprintable()
    assert time.perf_counter() - begun < 0.5


def test_a_value_that_refers_to_itself_often() -> None:
    """The YAML alias bomb: its repr has 10^9 entries."""
    bomb: list[object] = ["lol"]
    for _ in range(9):
        bomb = [bomb] * 10
    assert len(shown(bomb)) <= 80


def test_shortening_to_a_length() -> None:
    assert printable("a" * 100, 40) == "a" * 25 + " [...] " + "a" * 8

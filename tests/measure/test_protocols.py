import pytest

from fewbits.errors import FewbitsError
from fewbits.measure.protocols import Sentences, Stride, Windows, parse_protocol


@pytest.mark.parametrize("text", ["windows:512", "windows:2048", "plain:2048", "stride:1024:512", "sentences"])
def test_a_protocol_prints_back_as_it_parses(text: str) -> None:
    assert str(parse_protocol(text)) == text


def test_what_the_names_mean() -> None:
    assert parse_protocol("windows:512") == Windows(length=512, bos=True)
    assert parse_protocol("plain:512") == Windows(length=512, bos=False)
    assert parse_protocol("stride:1024:512") == Stride(length=1024, step=512)
    assert parse_protocol(Sentences()) == Sentences()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "window:512",
        "windows",
        "windows:",
        "windows:5:5",
        "windows:-5",
        "windows:x",
        "stride:512",
        "sentences:4",
        "windows:²",
    ],
)
def test_an_unknown_protocol_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(FewbitsError, match=r"unknown protocol '.*': windows:512, plain:2048, stride:1024:512 or sentences"):
        parse_protocol(text)


@pytest.mark.parametrize("text", ["windows:1", "plain:0", "stride:1:1", "stride:8:0", "stride:8:9"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(FewbitsError, match=f"protocol '{text}'"):
        parse_protocol(text)

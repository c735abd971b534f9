"""Protocols: how a text is cut before a language model is measured on it. Perplexity means nothing without one.

windows:512        a <bos> token and 511 tokens, not overlapping; every one of the 511 is predicted
plain:2048         2048 tokens and no <bos>, not overlapping; all but a window's first are predicted (GPTQ's convention)
stride:1024:512    a window of 1024 moves on by 512; only the tokens that are new in it count (Hugging Face's convention)
sentences          each sentence (or line) by itself, after a <bos>; the mean of the sentences' perplexities
"""

from dataclasses import dataclass

from fewbits.errors import FewbitsError

KNOWN = "windows:512, plain:2048, stride:1024:512 or sentences"


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Windows of `length` tokens that do not overlap; with `bos` the first is <bos>, where the tokenizer has one."""

    length: int
    bos: bool = True

    def __post_init__(self) -> None:
        if self.length < 2:
            raise FewbitsError(f"protocol '{self}': a window has at least 2 tokens, one of them predicted")

    def __str__(self) -> str:
        return f"{'windows' if self.bos else 'plain'}:{self.length}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stride:
    """A window of `length` tokens that moves on by `step`; the tokens are taken as they come, without a <bos>."""

    length: int
    step: int

    def __post_init__(self) -> None:
        if self.length < 2 or not 1 <= self.step <= self.length:
            raise FewbitsError(f"protocol '{self}': the stride is from 1 to the window, the window at least 2 tokens")

    def __str__(self) -> str:
        return f"stride:{self.length}:{self.step}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentences:
    """Each text of a list by itself."""

    def __str__(self) -> str:
        return "sentences"


Protocol = Windows | Stride | Sentences


def parse_protocol(text: str | Protocol) -> Protocol:
    """Read `windows:512`. Raises FewbitsError that names what there is."""
    if not isinstance(text, str):
        return text
    name, *numbers = text.strip().split(":")
    sizes = [int(n) for n in numbers if n.isascii() and n.isdigit() and len(n) < 10]
    if len(sizes) == len(numbers):
        match name, sizes:
            case (("windows" | "plain"), [length]):
                return Windows(length=length, bos=name == "windows")
            case "stride", [length, step]:
                return Stride(length=length, step=step)
            case "sentences", []:
                return Sentences()
    raise FewbitsError(f"unknown protocol '{text}': {KNOWN}")

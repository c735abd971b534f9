"""A text cut into windows by a protocol, and windows put together into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.measure.digest import hash_tokens
from fewbits.measure.protocols import Protocol, Sentences, Stride, Windows, parse_protocol

Tokens = Int[Tensor, " n"] | Sequence[Int[Tensor, " _"]]  # one text, or a list of sentences


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the model reads at once, and how many of its last tokens are scored."""

    ids: Int[Tensor, " t"]
    scored: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A text cut into windows. `protocol` is what was done, `bos` whether each window begins with <bos>, `data` the hash of the
    text, `unused` the number of its tokens that filled no window.
    """

    windows: tuple[Window, ...]
    protocol: Protocol
    bos: bool
    data: str
    unused: int

    @property
    def predicted(self) -> int:
        """Tokens that are scored, each once."""
        return sum(w.scored for w in self.windows)

    @property
    def longest(self) -> int:
        return max(w.ids.numel() for w in self.windows)


def cut(tokens: Tokens, protocol: str | Protocol, *, bos: int | None = None) -> Cut:
    """Cut token ids into windows. `windows:N` for a tokenizer without <bos> is done, and named, as `plain:N`.

    Raises FewbitsError for an unknown protocol, a text too short for one window, `sentences` of a text that is not a list of
    sentences, and the other way round.
    """
    protocol = parse_protocol(protocol)
    if isinstance(protocol, Windows) and bos is None:
        protocol = Windows(length=protocol.length, bos=False)
    windows, unused = _cut(tokens, protocol, bos)
    led = bos is not None and (isinstance(protocol, Sentences) or (isinstance(protocol, Windows) and protocol.bos))
    return Cut(windows=tuple(windows), protocol=protocol, bos=led, data=hash_tokens(tokens), unused=unused)


def _cut(tokens: Tokens, protocol: Protocol, bos: int | None) -> tuple[list[Window], int]:
    match protocol:
        case Sentences() if not isinstance(tokens, Tensor):
            return _sentences(tokens, bos)
        case Windows() if isinstance(tokens, Tensor):
            return _windows(tokens, protocol, bos)
        case Stride() if isinstance(tokens, Tensor):
            return _stride(tokens, protocol)
    wanted = "a list of token tensors, one a sentence" if isinstance(tokens, Tensor) else "one tensor of tokens, not a list"
    raise FewbitsError(f"protocol '{protocol}' takes {wanted}")


def _windows(tokens: Tensor, protocol: Windows, bos: int | None) -> tuple[list[Window], int]:
    """Full windows only: a shorter one at the end would give its tokens less context than the protocol says."""
    start = tokens.new_tensor([bos] if protocol.bos else [])
    room = protocol.length - start.numel()
    pieces = tokens[: tokens.numel() // room * room].view(-1, room)
    if not len(pieces):
        raise FewbitsError(f"{tokens.numel()} tokens do not fill one window of {room}: give more text, or a shorter window")
    windows = [Window(ids=torch.cat([start, piece]), scored=protocol.length - 1) for piece in pieces]
    return windows, tokens.numel() - pieces.numel()


def _stride(tokens: Tensor, protocol: Stride) -> tuple[list[Window], int]:
    """Every token is scored once, but the first, which nothing comes before."""
    windows, done = [], 1
    for begin in range(0, tokens.numel(), protocol.step):
        end = min(begin + protocol.length, tokens.numel())
        scored = min(end - done, end - begin - 1)  # where stride and window are one, a window's first token has no context
        if scored > 0:
            windows.append(Window(ids=tokens[begin:end], scored=scored))
        done = end
        if end == tokens.numel():
            break
    if not windows:
        raise FewbitsError(f"{tokens.numel()} tokens are too few to predict one from another: give more text")
    return windows, 0


def _sentences(sentences: Sequence[Tensor], bos: int | None) -> tuple[list[Window], int]:
    """Each sentence a window of its own; those with nothing to predict are left out."""
    texts = [s if bos is None else torch.cat([s.new_tensor([bos]), s]) for s in sentences]
    windows = [Window(ids=text, scored=text.numel() - 1) for text in texts if text.numel() > 1]
    if not windows:
        raise FewbitsError(f"none of {len(texts)} sentences has a token to predict: give more text")
    return windows, sum(s.numel() for s, text in zip(sentences, texts, strict=True) if text.numel() <= 1)


def batches(cut: Cut, size: int) -> Iterator[tuple[Int[Tensor, "b t"], list[int]]]:
    """Windows of like length together, at most `size` at a time: ids, padded at the end with 0, and the windows' numbers.

    A causal model sees no padding that comes after what it reads, so none of the answers that count is touched by it.
    """
    order = sorted(range(len(cut.windows)), key=lambda i: -cut.windows[i].ids.numel())
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield torch.nn.utils.rnn.pad_sequence([cut.windows[i].ids for i in chosen], batch_first=True), chosen

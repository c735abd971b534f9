"""Text from a language model: greedy or sampled, one sequence or a batch, all at once or as it is made."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime.decode import BURST, decoder_for
from fewbits.runtime.sampling import Sampling

Prompt = str | Sequence[int] | Sequence[Sequence[int]] | Tensor


def generate(
    model: Any,
    prompt: Prompt,
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[int] | None = None,
    tokenizer: Any = None,
) -> Any:
    """Continue a prompt. Returns the new text for text, else the new tokens, `[batch, steps]` (one sequence: `[steps]`).

    `prompt`: text (with the model's `tokenizer`), tokens, or several sequences of tokens, which may differ in length. `stop`:
    tokens that end a sequence (default: the model's own; `()` for none); the rest of an ended sequence repeats its stop token.
    Temperature 0 gives the tokens of transformers' greedy `generate`, but for ties that rounding decides.

    Raises FewbitsError for text without a tokenizer, an empty prompt, or a setting out of its range.
    """
    pieces = list(
        stream(
            model, prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed,
            stop=stop, tokenizer=tokenizer, burst=64,
        )
    )  # fmt: skip
    return "".join(pieces) if isinstance(prompt, str) else torch.cat(pieces, dim=-1)


def stream(
    model: Any,
    prompt: Prompt,
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[int] | None = None,
    tokenizer: Any = None,
    burst: int = BURST,
) -> Iterator[Any]:
    """As `generate`, piece by piece: text for text, else tokens; a piece has up to `burst` tokens."""
    if max_new_tokens < 1:
        raise FewbitsError(f"max_new_tokens={max_new_tokens}: at least 1")
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    ids, mask = _ids(prompt, tokenizer, next(model.parameters()).device)
    ends = _ends(model) if stop is None else frozenset(stop)
    pieces = _until(ends, model, ids, mask, max_new_tokens, sampling, burst)
    if isinstance(prompt, str):
        return texts(pieces, tokenizer)
    single = (isinstance(prompt, Tensor) and prompt.dim() == 1) or (isinstance(prompt, Sequence) and isinstance(prompt[0], int))
    return (piece[0] if single else piece for piece in pieces)


def _until(
    ends: frozenset[int], model: Any, ids: Tensor, mask: Tensor | None, count: int, sampling: Sampling, burst: int
) -> Iterator[Int[Tensor, "batch steps"]]:
    """Tokens until all sequences have met a stop token; an ended one repeats it."""
    decoder = decoder_for(model, ids.shape[0], ids.shape[1] + count, sampling, burst=burst)
    stops = torch.tensor(sorted(ends), dtype=torch.long, device=ids.device)
    last: Tensor | None = None  # of each sequence: its stop token, or -1
    for piece in decoder.tokens(ids, mask, count):
        if not ends:
            yield piece
            continue
        kept, last, used = _cut(piece, stops, last)
        yield kept[:, :used]
        if bool((last >= 0).all()):
            return


def _cut(piece: Tensor, stops: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """Repeat stop tokens behind themselves; how many steps there are until all sequences have ended."""
    last = piece.new_full((piece.shape[0],), -1) if last is None else last
    columns = []
    for token in piece.unbind(1):
        token = torch.where(last >= 0, last, token)
        last = torch.where(torch.isin(token, stops), token, last)
        columns.append(token)
        if bool((last >= 0).all()):
            break
    return torch.stack(columns, dim=1), last, len(columns)


def texts(pieces: Iterable[Int[Tensor, "_ _"]], tokenizer: Any) -> Iterator[str]:
    """The text of one sequence as far as it is whole: a character's bytes may come in several tokens."""
    ids: list[int] = []
    told = ""
    for piece in pieces:
        ids += piece[0].tolist()
        text = tokenizer.decode(ids, skip_special_tokens=True)
        if not text.endswith("�"):
            yield text[len(told) :]
            told = text
    rest = tokenizer.decode(ids, skip_special_tokens=True)[len(told) :]
    if rest:
        yield rest


def _ids(prompt: Prompt, tokenizer: Any, device: torch.device) -> tuple[Int[Tensor, "batch n"], Tensor | None]:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise FewbitsError("a prompt of text needs the model's tokenizer: generate(model, text, tokenizer=...)")
        prompt = tokenizer(prompt)["input_ids"]
    if isinstance(prompt, Tensor):
        ids = prompt[None] if prompt.dim() == 1 else prompt
        if not ids.numel():
            raise FewbitsError("the prompt has no tokens")
        return ids.to(device), None
    rows: list[Any] = [list(row) for row in prompt] if prompt and not isinstance(prompt[0], int) else [list(prompt)]  # type: ignore[arg-type]
    if not rows or not all(rows):
        raise FewbitsError("the prompt has no tokens")
    return _padded(rows, device)


def _padded(rows: list[list[int]], device: torch.device) -> tuple[Int[Tensor, "batch n"], Tensor | None]:
    """Pad on the left; no mask where nothing is padded."""
    longest = max(map(len, rows))
    ids = torch.tensor([[row[0]] * (longest - len(row)) + row for row in rows], device=device)
    if all(len(row) == longest for row in rows):
        return ids, None
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)


def _ends(model: Any) -> frozenset[int]:
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset() if end is None else frozenset([end] if isinstance(end, int) else end)

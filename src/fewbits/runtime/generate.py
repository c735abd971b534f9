"""Text from a language model: greedy or sampled, one sequence or a batch, all at once or as it is made."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, no_type_check

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError, shown
from fewbits.runtime.bounds import check_positions
from fewbits.runtime.decode import BURST, decoder_for
from fewbits.runtime.prompts import Prompt, is_single, is_text, token_ids
from fewbits.runtime.sampling import Sampling, whole
from fewbits.runtime.session import refuse_encoder_decoder
from fewbits.runtime.vocabulary import check_ids


@no_type_check  # so that values of other types reach the checks below, whoever checks types at run time
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
    """Continue a prompt. Temperature 0 gives the tokens of transformers' greedy `generate`, but for ties that rounding decides.

    Penalties, suppressed and forced tokens of the model's `generation_config` apply as they do there; its sampling does not.

    Args:
        model: A causal language model.
        prompt: Text or a chat (a list of messages), both with the model's `tokenizer`; token ids; several sequences of them, which
            may differ in length; or what a tokenizer returns, `input_ids` with an `attention_mask`, padded on either side.
        max_new_tokens: Maximum number of new tokens of each sequence.
        temperature: 0 takes the likeliest token, more samples.
        top_k: Sample from the likeliest tokens alone; 0 for all.
        top_p: Sample from the likeliest tokens that make up this probability.
        seed: Of the sampling.
        stop: Tokens that end a sequence (default: the model's own; `()` for none); the rest of an ended one repeats its stop token.
        tokenizer: The model's tokenizer, for text and chats.

    Returns:
        The new text for text and chats, else the new tokens: `[batch, steps]`, or `[steps]` for a single sequence.

    Raises:
        FewbitsError: For a prompt or a setting that makes no sense, and for a model that cannot generate.
    """
    pieces = list(
        stream(
            model, prompt, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed,
            stop=stop, tokenizer=tokenizer, burst=64,
        )
    )  # fmt: skip
    return "".join(pieces) if is_text(prompt) else torch.cat(pieces, dim=-1)


@no_type_check
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
    if not hasattr(model, "parameters"):
        raise FewbitsError(f"{shown(model)} is no model: load one first (fewbits.load, from_pretrained)")
    refuse_encoder_decoder(model)
    count = whole("max_new_tokens", max_new_tokens)
    if not 1 <= count < 2**31:
        raise FewbitsError(f"max_new_tokens {shown(max_new_tokens)}: at least 1, and less than 2**31")
    sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    ends = _ends(model) if stop is None else _stops(stop)
    pad = getattr(getattr(model, "generation_config", None), "pad_token_id", None)
    ids, mask = token_ids(prompt, tokenizer, next(model.parameters()).device, None if pad in _ends(model) else pad)
    check_ids(ids, model)
    check_positions(model, ids.shape[1], count)
    pieces = _until(ends, model, ids, mask, count, sampling, burst)
    if is_text(prompt):
        return texts(pieces, tokenizer)
    single = is_single(prompt)
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


def _ends(model: Any) -> frozenset[int]:
    end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset() if end is None else frozenset([end] if isinstance(end, int) else end)


def _stops(stop: Any) -> frozenset[int]:
    """Raises FewbitsError for anything but token ids."""
    if isinstance(stop, str | bytes) or not isinstance(stop, Iterable):
        raise FewbitsError(f"stop {shown(stop)}: a sequence of token ids, () for none")
    ends = frozenset(whole("stop", each) for each in stop)
    if wild := [each for each in ends if not 0 <= each < 2**63]:
        raise FewbitsError(f"stop {shown(wild[0])}: token ids are 0 or more")
    return ends

"""A prompt as a user gives it, as token ids padded on the left and their mask.

Text, a chat, token ids of one or several sequences, or what a tokenizer returns (`input_ids` and `attention_mask`, padded on either
side).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError, shown

Prompt = str | Sequence[int] | Sequence[Sequence[int]] | Sequence[Mapping[str, Any]] | Mapping[str, Any] | Tensor
_KINDS = "text, token ids, several sequences of them, a chat, or what a tokenizer returns"
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def is_chat(prompt: Any) -> bool:
    """Whether a prompt is a list of messages, each with a `role`."""
    return isinstance(prompt, list | tuple) and bool(prompt) and isinstance(prompt[0], Mapping)


def is_text(prompt: Any) -> bool:
    """Whether a prompt is continued as text: a text or a chat."""
    return isinstance(prompt, str) or is_chat(prompt)


def is_single(prompt: Any) -> bool:
    """Whether a prompt is one sequence of token ids, whose new tokens have one dimension too."""
    if isinstance(prompt, Mapping):
        prompt = prompt.get("input_ids")
    if hasattr(prompt, "ndim"):
        return prompt.ndim == 1
    return isinstance(prompt, Sequence) and bool(prompt) and not _is_row(prompt[0])


def token_ids(
    prompt: Any, tokenizer: Any, device: torch.device, pad: int | None = None
) -> tuple[Int[Tensor, "batch n"], Tensor | None]:
    """Token ids on a device, and their mask if some are padding.

    `pad`: the model's padding token, if it is no other token too: its occurrences in a tensor are padding, as transformers'
    `generate` has it.

    Raises FewbitsError for anything that is no prompt, and text or a chat that the tokenizer cannot take.
    """
    if is_text(prompt):
        prompt = _encode(prompt, tokenizer)
    mask = None
    if isinstance(prompt, Mapping):
        prompt, mask = _mapping(prompt)
    if hasattr(prompt, "__array__") and not isinstance(prompt, Tensor):
        prompt = torch.as_tensor(prompt)
    if not isinstance(prompt, Tensor):
        return _padded(_rows(prompt), device)
    ids = _matrix(prompt, "the prompt")
    if mask is None and pad is not None:
        mask = ids != pad
    if mask is None or bool(mask.all()):
        return ids.long().to(device), None
    rows = [row[real.bool()].tolist() for row, real in zip(ids, mask, strict=True)]
    if not all(rows):
        raise FewbitsError(f"sequence {[bool(row) for row in rows].index(False)} of the prompt is padding alone")
    return _padded(rows, device)


def _encode(prompt: Any, tokenizer: Any) -> list[int]:
    """The tokens of a text, or of a chat by the tokenizer's template."""
    if tokenizer is None:
        raise FewbitsError("a prompt of text needs the model's tokenizer: generate(model, text, tokenizer=...)")
    if isinstance(prompt, str):
        return _text(prompt, tokenizer)
    if not all(isinstance(each, Mapping) and "role" in each and "content" in each for each in prompt):
        raise FewbitsError('a chat is a list of messages, each {"role": ..., "content": ...}')
    if not getattr(tokenizer, "chat_template", None):
        raise FewbitsError(f"{type(tokenizer).__name__} has no chat template: give the prompt as one text")
    try:
        text = tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
    except Exception as error:  # templates are programs of the model's folder
        raise FewbitsError(f"the chat template refuses these messages: {type(error).__name__}: {error}") from error
    _check_unicode(text)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _text(prompt: str, tokenizer: Any) -> list[int]:
    _check_unicode(prompt)
    try:
        return list(tokenizer(prompt)["input_ids"])
    except (TypeError, ValueError, KeyError) as error:
        raise FewbitsError(f"{type(tokenizer).__name__} cannot encode the prompt: {type(error).__name__}: {error}") from error


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        at = text[error.start].encode("unicode_escape").decode("ascii")
        raise FewbitsError(f"the prompt is not valid Unicode: {at} at character {error.start}: read it as UTF-8") from None


def _mapping(prompt: Mapping[str, Any]) -> tuple[Any, Tensor | None]:
    """What a tokenizer returned: lists are as good as tensors, and the mask belongs to the ids."""
    if "input_ids" not in prompt:
        raise FewbitsError(f"a prompt of {', '.join(map(shown, list(prompt)[:5])) or 'nothing'} has no input_ids")
    ids, mask = prompt["input_ids"], prompt.get("attention_mask")
    if mask is None:
        return ids, None
    if not isinstance(ids, Tensor):
        rows = _rows(ids) if not hasattr(ids, "__array__") else torch.as_tensor(ids).reshape(-1, len(ids[0])).tolist()
        if len({len(row) for row in rows}) > 1:
            raise FewbitsError("input_ids of different lengths with an attention_mask: pad them, or leave the mask out")
        ids = torch.tensor(rows)
    matrix, real = _matrix(ids, "input_ids"), _matrix(torch.as_tensor(mask), "attention_mask", (*_INTEGERS, torch.bool))
    if matrix.shape != real.shape:
        raise FewbitsError(f"attention_mask of {tuple(real.shape)} for input_ids of {tuple(matrix.shape)}: they must be equal")
    if not bool(((real == 0) | (real == 1)).all()):
        raise FewbitsError("attention_mask has values other than 0 and 1")
    return matrix, real.to(matrix.device)


def _matrix(values: Tensor, what: str, dtypes: tuple[torch.dtype, ...] = _INTEGERS) -> Tensor:
    if values.dtype not in dtypes:
        raise FewbitsError(f"{what} has {str(values.dtype).removeprefix('torch.')} values: token ids are whole numbers")
    if values.is_meta or values.layout != torch.strided:
        raise FewbitsError(f"{what} is a tensor {'without data' if values.is_meta else 'that is sparse'}: make it dense")
    if values.dim() not in (1, 2):
        raise FewbitsError(f"{what} has {values.dim()} dimensions: one for a sequence, two for a batch")
    if not values.numel():
        raise FewbitsError("the prompt has no tokens")
    return values[None] if values.dim() == 1 else values


def _rows(prompt: Any) -> list[list[int]]:
    """Lists of ids of one or several sequences."""
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes | bytearray):
        raise FewbitsError(f"a prompt of type {type(prompt).__name__}: {_KINDS}")
    if not prompt:
        raise FewbitsError("the prompt has no tokens")
    if isinstance(prompt[0], str):
        raise FewbitsError("several texts: generate for one at a time, or give their token ids")
    rows = [[_id(each) for each in row] for row in (prompt if _is_row(prompt[0]) else [prompt]) if _checked_row(row)]
    if not all(rows):
        raise FewbitsError("the prompt has no tokens" if len(rows) == 1 else f"sequence {rows.index([])} has no tokens")
    return rows


def _is_row(value: Any) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str)) or getattr(value, "ndim", 0) > 0


def _checked_row(row: Any) -> bool:
    if not _is_row(row):
        raise FewbitsError(f"sequences of token ids, and {shown(row)} among them: {_KINDS}")
    return True


def _id(value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FewbitsError(f"{shown(value)} is no token id: token ids are whole numbers")
    try:
        return value.__index__()
    except TypeError:
        raise FewbitsError(f"{shown(value)} is no token id: token ids are whole numbers") from None


def _padded(rows: list[list[int]], device: torch.device) -> tuple[Int[Tensor, "batch n"], Tensor | None]:
    """Pad on the left; no mask if nothing is padded."""
    if (wild := next((each for row in rows for each in row if not -(2**63) <= each < 2**63), None)) is not None:
        raise FewbitsError(f"token {shown(wild)} is outside every vocabulary")
    longest = max(map(len, rows))
    ids = torch.tensor([[row[0]] * (longest - len(row)) + row for row in rows], device=device)
    if all(len(row) == longest for row in rows):
        return ids, None
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)

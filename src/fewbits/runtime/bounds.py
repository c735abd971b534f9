"""Whether a model has room for a prompt and what follows: rows of its position table, checked before any work."""

import re
from typing import Any

from fewbits.errors import FewbitsError
from fewbits.runtime.cache import takes

_TABLE = re.compile(r"(^|\.)(wpe|positions_embed|embed_positions|position_embeddings?|pos_embeddings?|pos_encoding)$")
_OTHER = re.compile(r"(^|[._])(vision|image|visual|audio|patch|encoder_prenet)")


def positions_of(model: Any) -> int | None:
    """The most positions of a model whose positions are rows of a table; None if they are computed (rotary, ALiBi)."""
    found = []
    for name, module in model.named_modules():
        rows = getattr(module, "num_embeddings", None)
        if _TABLE.search(name) and not _OTHER.search(name) and isinstance(rows, int):
            found.append(rows - _first_row(model, module))
    for name, buffer in model.named_buffers():
        if _TABLE.search(name) and not _OTHER.search(name) and buffer.dim() == 2 and buffer.is_floating_point():
            found.append(buffer.shape[0])
    config: Any = getattr(model, "config", None)
    if getattr(config, "model_type", None) == "mpt":  # its ALiBi is a table too
        found.append(config.max_seq_len)
    return min(found, default=None)


def check_positions(model: Any, prompt: int, count: int) -> None:
    """Raise FewbitsError if a prompt of so many tokens and `count` new ones need more positions than there are."""
    most = positions_of(model)
    if most is None or prompt + count - 1 <= most:  # the last token is never an input
        return
    name = type(model).__name__
    if prompt > most:
        raise FewbitsError(f"a prompt of {prompt} tokens: {name} has {most} positions: shorten it")
    raise FewbitsError(
        f"a prompt of {prompt} tokens and {count} new ones: {name} has {most} positions: max_new_tokens {most - prompt + 1} at most"
    )


def _first_row(model: Any, module: Any) -> int:
    """Rows before that of position 0: an offset, or those up to the padding's if the model counts positions itself (RoBERTa)."""
    if isinstance(offset := getattr(module, "offset", None), int):
        return offset
    padding = None if takes(model, "position_ids") else getattr(module, "padding_idx", None)
    return padding + 1 if isinstance(padding, int) else 0

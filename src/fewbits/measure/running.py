"""Running a model to measure it: in eval mode, without gradients, on its own device; and what came out."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.runtime.cache import takes


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        for model in models:
            _need_weights(model)
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def logits_of(model: nn.Module, inputs: Shaped[Tensor, "b ..."], **options: Any) -> Float[Tensor, "b ..."]:
    """What the model says: the tensor that it returns, or the `.logits` of its answer. Raises FewbitsError for neither."""
    answer = model(inputs, **options)
    logits = getattr(answer, "logits", answer)
    if not isinstance(logits, Tensor):
        raise FewbitsError(f"{type(model).__name__} returns a {type(answer).__name__}, not logits: it cannot be measured so")
    return logits


def ask(model: nn.Module, inputs: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """The logits of a batch, which is first put where the model is; a language model makes no KV cache for it."""
    return logits_of(model, placed(model, inputs), **plainly(model))


def placed(model: nn.Module, inputs: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "b ..."]:
    """The inputs on the model's device; floats in its dtype."""
    return inputs.to(device_of(model), dtype_of(model) if inputs.is_floating_point() else inputs.dtype)


def plainly(model: nn.Module) -> dict[str, Any]:
    """Options that ask a model for its logits and for nothing that is kept."""
    return {"use_cache": False} if takes(model, "use_cache") else {}


def device_of(model: nn.Module) -> torch.device:
    """Where the model takes its inputs: the device of its first tensor."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def dtype_of(model: nn.Module) -> torch.dtype:
    """The float type that the model computes in: that of its first float parameter or buffer."""
    floats = (t.dtype for t in chain(model.parameters(), model.buffers()) if t.is_floating_point())
    return next(floats, torch.float32)


def dtype_name(model: nn.Module) -> str:
    """As `dtype_of`, for a protocol: `float32`."""
    return str(dtype_of(model)).removeprefix("torch.")


def config_value(model: nn.Module, name: str) -> int | None:
    """A number of a transformers model's configuration, such as `vocab_size`; None where there is none."""
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "get_text_config"):
        config = config.get_text_config()
    value = getattr(config, name, None)
    return value if isinstance(value, int) else None


def check_positions(model: nn.Module, length: int, what: str) -> None:
    """Raise FewbitsError if the model was not made for that many tokens."""
    most = config_value(model, "max_position_embeddings")
    if most is not None and length > most:
        raise FewbitsError(f"{what} of {length} tokens: {type(model).__name__} has {most} positions, so at most {most}")


def check_ids(model: nn.Module, ids: Iterable[Int[Tensor, " _"]]) -> None:
    """Raise FewbitsError, naming the id, if the model's embedding has no row for one of the ids."""
    rows = embedding_rows(model)
    if rows is None:
        return
    most = max((int(each.max()) for each in ids if each.numel()), default=-1)
    if most >= rows:
        raise FewbitsError(
            f"the tokenizer gives id {most}, the model's embedding has {rows} rows (0 to {rows - 1}):"
            " use the tokenizer that the model was trained with, or resize the model's embedding"
        )


def embedding_rows(model: nn.Module) -> int | None:
    """Rows of the input embedding of a transformers model; None where there is none to be found."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        layer = find() if callable(find) else None
    except (NotImplementedError, AttributeError):
        return None
    rows = getattr(layer, "num_embeddings", None)
    return rows if isinstance(rows, int) else None


def image_channels(model: nn.Module) -> int | None:
    """Channels of the images that a classifier takes: by its configuration, else by its first convolution."""
    configured = config_value(model, "num_channels")
    if configured is not None:
        return configured
    counts = (getattr(module, "in_channels", None) for module in model.modules() if hasattr(module, "kernel_size"))
    return next((count for count in counts if isinstance(count, int)), None)


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done what it was given; a CPU has done it already."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)


def _need_weights(model: nn.Module) -> None:
    if any(t.is_meta for t in chain(model.parameters(), model.buffers())):
        raise FewbitsError(f"{type(model).__name__} is on the meta device, without weights: only its size can be told")

"""A fused step held against the model's own forward: a few tokens of a prompt, then a few steps.

Both sides multiply by the same weights, on the CPU if need be by exact activations, so what is left is rounding. Relative errors of the
logits that were measured: 6e-7 to 2e-5 in float32; of a forward in half precision against one in float32, 1e-3 to 8e-3 in
float16 and 1e-2 to 6e-2 in bfloat16, where trained models have 1.5e-2 at most. Another rotary embedding, another order of heads
or a missing term give 0.3 to 1; what gives less is refused by its class or settings (known.py).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.runtime.structure import Structure, UnknownStructure, longest

PROMPT, STEPS = 5, 3
TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 0.1}
ROUNDED = 0.1  # with a8 layers: an activation between two codes may fall to either side; 0.03 was measured


def probe(vocabulary: int, most: int | None, device: torch.device) -> Int[Tensor, "1 n"]:
    """Token ids spread over the vocabulary, the same every time.

    They are fewer than `most`: a full window has dropped the first token from its cache. Raises UnknownStructure if that is too few.
    """
    count = PROMPT + STEPS if most is None else min(PROMPT + STEPS, most - 1)
    if count < 2:
        raise UnknownStructure(f"its window or its positions of {most} are too few")
    ids = [int(vocabulary * ((0.382 + 0.618034 * i) % 1)) for i in range(count)]
    return torch.tensor([ids], device=device)


def prompt_length(ids: Int[Tensor, "1 n"]) -> int:
    """The tokens that are read at once; the others follow one by one."""
    return min(PROMPT, ids.shape[1] - 1)


def difference(own: Float[Tensor, "n v"], fused: Float[Tensor, "_ _"]) -> float:
    """The largest relative error of the logits at any position; what softmax ignores does not count."""
    if own.shape != fused.shape:
        return float("inf")
    own, fused = (x.double() - x.double().mean(-1, keepdim=True) for x in (own, fused))
    error, size = (own - fused).norm(dim=-1), own.norm(dim=-1)
    relative = torch.where(error == 0, 0.0, error / size)
    return float(relative.max()) if bool(relative.isfinite().all()) else float("inf")


def tolerance(model: Any) -> float:
    """How far rounding may move the logits of a model."""
    from fewbits.layers import QuantizedLayer

    rounded = any(isinstance(m, QuantizedLayer) and m.scheme.format.activation_bits for m in model.modules())
    limit = TOLERANCE.get(model.dtype, 0.0)
    return max(limit, ROUNDED) if rounded else limit


def verdict(model: Any, own: Float[Tensor, "n v"], fused: Float[Tensor, "_ _"]) -> str | None:
    """Why the fused step is not used, in words; None if both logits agree."""
    error, limit = difference(own, fused), tolerance(model)
    if error <= limit:
        return None
    return f"its logits differ from those of the model's own forward (relative error {error:.2g}, rounding allows {limit:g})"


def engine_differs(model: Any, structure: Structure, engine: Any) -> str | None:
    """Why an engine on the GPU is not used: its logits, of a prompt and then of each given token, differ from the model's own."""
    ids = probe(structure.vocabulary, longest(structure, model.config), model.device)
    n, count = prompt_length(ids), ids.shape[1]
    with torch.inference_mode():
        own = model(input_ids=ids, logits_to_keep=count - n + 1).logits[0]
        rows = [engine.read(ids[:, :n], record=False)[0].float()]
        for at in range(n, count):
            engine.tokens[at] = ids[0, at]
            engine.decode(at, 1, logits=True)
            rows.append(engine.logits.clone())
    return verdict(model, own, torch.stack(rows))

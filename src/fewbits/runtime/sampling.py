"""How the next token is chosen from logits."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError, shown

LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-6, 1e6  # logits divided by these remain finite in float32


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature 0 takes the likeliest token; else a draw from the softmax, cut to `top_k` tokens and `top_p` of probability.

    Raises FewbitsError for a setting of another type or out of its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, *, temperature: Any, top_k: Any, top_p: Any, seed: Any) -> "Sampling":
        """The settings from values of any type."""
        return cls(
            temperature=_number("temperature", temperature), top_k=whole("top_k", top_k), top_p=_number("top_p", top_p),
            seed=whole("seed", seed),
        )  # fmt: skip

    def __post_init__(self) -> None:
        heat, share = _number("temperature", self.temperature), _number("top_p", self.top_p)
        if heat and not LEAST_TEMPERATURE <= heat <= MOST_TEMPERATURE:
            least, most = f"{LEAST_TEMPERATURE:g}", f"{MOST_TEMPERATURE:g}"
            raise FewbitsError(f"temperature {shown(heat)}: 0 (the likeliest token), or {least} to {most}")
        if not 0 < share <= 1:
            raise FewbitsError(f"top_p {shown(share)}: above 0 and at most 1")
        if not 0 <= whole("top_k", self.top_k) < 2**63:
            raise FewbitsError(f"top_k {shown(self.top_k)}: 0 (all tokens) or more")
        if not 0 <= whole("seed", self.seed) < 2**63:
            raise FewbitsError(f"seed {shown(self.seed)}: 0 to 2**63 - 1")

    @property
    def cuts(self) -> bool:
        """Whether some tokens are ruled out, which needs all logits side by side."""
        return self.temperature > 0 and (self.top_k > 0 or self.top_p < 1)

    def choose(self, logits: Float[Tensor, "batch vocabulary"], generator: torch.Generator) -> Int[Tensor, " batch"]:
        """One token a row."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        scaled = logits.float() / self.temperature
        if self.top_k:
            least = scaled.topk(min(self.top_k, scaled.shape[-1]), dim=-1).values[:, -1:]
            scaled = scaled.masked_fill(scaled < least, -torch.inf)
        probabilities = scaled.softmax(dim=-1)
        if self.top_p < 1:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            cut = ordered.cumsum(dim=-1) - ordered >= self.top_p  # tokens wholly above top_p
            probabilities = probabilities.scatter(-1, order, ordered.masked_fill(cut, 0.0))
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def whole(name: str, value: object) -> int:
    """The value as a whole number. Raises FewbitsError, naming the setting, for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FewbitsError(f"{name} {shown(value)}: a whole number")
    return value.__index__()  # type: ignore[attr-defined]


def _number(name: str, value: object) -> float:
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        raise FewbitsError(f"{name} {shown(value)}: a number")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FewbitsError(f"{name} {shown(value)}: a finite number")
    return number

"""How the next token is chosen from logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.errors import FewbitsError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature 0 takes the likeliest token; else a draw from the softmax, cut to `top_k` tokens and `top_p` of probability."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise FewbitsError(f"a temperature of {self.temperature}: 0 (the likeliest token) or more")
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise FewbitsError(f"top_k {self.top_k}, top_p {self.top_p}: top_k is 0 (all) or more, top_p above 0 and at most 1")

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
            cut = ordered.cumsum(dim=-1) - ordered >= self.top_p  # what lies wholly above top_p
            probabilities = probabilities.scatter(-1, order, ordered.masked_fill(cut, 0.0))
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)

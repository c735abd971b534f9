"""What a search minimises on the data that it chooses by: the divergence from the original, or the rise of a loss.

Each objective reads its batches under a model and tells a loss a row (token, image) or a batch, and draws the pseudo-losses
whose squared gradients estimate the Fisher information.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from fewbits.measure.running import ask, evaluating


class Objective(ABC):
    """Batches, and what a model loses on them. `digest` names the data, `unit` the loss."""

    digest: str
    unit: str = "nats"
    batches: Sequence[Any]
    cluster: int = 1  # rows that belong together: the tokens of a window

    @abstractmethod
    def remember(self, model: nn.Module) -> None:
        """Take down what the original answers; done once, before any loss is asked for."""

    @abstractmethod
    def loss(self, model: nn.Module, at: int) -> Float[Tensor, " n"]:
        """What the model loses on each row of one batch, against the original."""

    def tensor(self) -> Tensor | None:
        """Inputs that the model takes as they are, to time it on; None where batches are something else."""
        return None

    @abstractmethod
    def samples(self) -> int:
        """How many pseudo-losses can be drawn."""

    @abstractmethod
    def pseudo_loss(self, model: nn.Module, at: int) -> tuple[Float[Tensor, ""], int]:
        """A scalar with gradient, and how many rows it stands for: half its squared derivative along an error of the weights
        is, in expectation, the sum of the rows' losses to second order.
        """


class Divergence(Objective):
    """KL(original || model), nats a row, of models that answer with logits.

    For language models each token but the last of a sequence is a row; for classifiers each image.
    """

    def __init__(self, batches: Sequence[Shaped[Tensor, "_ ..."]], *, causal: bool, sample: int = 1, seed: int = 0) -> None:
        """`sample` inputs are read at a time for one pseudo-loss."""
        self.batches, self.causal, self.sample, self.seed = tuple(batches), causal, sample, seed
        self.digest = digest_of(self.batches)
        self._inputs = torch.cat(list(self.batches))
        self.cluster = self._inputs.shape[1] - 1 if causal else 1
        self._answers: list[tuple[Tensor, Tensor]] = []

    def remember(self, model: nn.Module) -> None:
        self._answers = []
        with evaluating(model):
            for inputs in self.batches:
                log_p = self._rows(model, inputs).log_softmax(dim=-1)
                p = log_p.exp()
                self._answers.append((p, (p * log_p.clamp(min=-1e4)).sum(dim=-1)))

    def loss(self, model: nn.Module, at: int) -> Float[Tensor, " n"]:
        """As sum p log p - sum p z + log sum exp z: one pass over the logits less than from both log-probabilities."""
        p, entropy = self._answers[at]
        z = self._rows(model, self.batches[at])
        return entropy - torch.linalg.vecdot(p, z) + z.logsumexp(dim=-1)

    def tensor(self) -> Tensor | None:
        return self._inputs

    def samples(self) -> int:
        return len(self._inputs) // self.sample

    def pseudo_loss(self, model: nn.Module, at: int) -> tuple[Float[Tensor, ""], int]:
        """Log q(y), y drawn from the model's own distribution q; draws are independent, so that cross terms vanish."""
        inputs = self._inputs[at * self.sample : (at + 1) * self.sample]
        log_q = self._rows(model, inputs).log_softmax(dim=-1)
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + at)
        drawn = torch.multinomial(log_q.detach().exp().cpu(), 1, generator=rng).to(log_q.device)
        return log_q.gather(1, drawn).sum(), len(log_q)

    def _rows(self, model: nn.Module, inputs: Tensor) -> Float[Tensor, "n v"]:
        logits = ask(model, inputs).float()
        return logits[:, :-1].flatten(0, 1) if self.causal else logits


class LossRise(Objective):
    """The rise of any loss function: `loss_of(model, batch)` returns the mean loss of a batch, a scalar with gradient."""

    unit = "loss"

    def __init__(self, batches: Sequence[Any], loss_of: Callable[[nn.Module, Any], Tensor], *, digest: str = "") -> None:
        self.batches, self.loss_of = tuple(batches), loss_of
        self.digest = digest or digest_of(self.batches)
        self._before: list[Tensor] = []

    def remember(self, model: nn.Module) -> None:
        with evaluating(model):
            self._before = [self._loss(model, batch) for batch in self.batches]

    def loss(self, model: nn.Module, at: int) -> Float[Tensor, " n"]:
        return (self._loss(model, self.batches[at]) - self._before[at]).reshape(1)

    def samples(self) -> int:
        return len(self.batches)

    def pseudo_loss(self, model: nn.Module, at: int) -> tuple[Float[Tensor, ""], int]:
        """The loss itself: its squared gradients are the empirical Fisher information, up to a factor."""
        return self._loss(model, self.batches[at]), 1

    def _loss(self, model: nn.Module, batch: Any) -> Float[Tensor, ""]:
        return self.loss_of(model, batch).float().reshape(())


def spread_windows(ids: Int[Tensor, " n"], count: int, length: int, *, bos: int | None) -> Int[Tensor, "c t"]:
    """`count` windows of `length` tokens (a <bos> and length - 1), evenly spread over a text; fewer from a short one."""
    room = length - (bos is not None)
    count = max(1, min(count, len(ids) // room))
    step = (len(ids) - room) / max(1, count - 1)
    found = [ids[round(i * step) : round(i * step) + room] for i in range(count)]
    start = ids.new_tensor([] if bos is None else [bos])
    return torch.stack([torch.cat([start, piece]) for piece in found])


def digest_of(batches: Sequence[Any]) -> str:
    """`sha256:...` of all tensors in the batches."""
    whole = hashlib.sha256()
    for batch in batches:
        for tensor in (batch,) if isinstance(batch, Tensor) else cast(Sequence[Any], batch):
            if isinstance(tensor, Tensor):
                whole.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
                whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"

"""What plans are measured on that they were not chosen by: text, images or batches of the user's, and what measures them there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from fewbits.measure.digest import hash_tokens
from fewbits.measure.divergence import Remembered
from fewbits.measure.images import Batches, score_images
from fewbits.measure.text import score_tokens
from fewbits.measure.windows import Cut
from fewbits.search.evidence import Evidence
from fewbits.search.store import Store
from fewbits.search.trial import Trial


@runtime_checkable
class Verification(Protocol):
    """Data that nothing is chosen by. `digest` names it; `score` reads it once."""

    @property
    def digest(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def protocol(self) -> str: ...

    def score(self, model: nn.Module, reference: nn.Module) -> Evidence: ...


@dataclass(frozen=True, kw_only=True)
class TextVerification:
    """A text cut into windows."""

    cut: Cut
    name: str = "text"

    @property
    def digest(self) -> str:
        windows = hash_tokens([window.ids for window in self.cut.windows])  # with <bos>, as the model reads them
        return f"{windows} {self.cut.protocol}"

    @property
    def protocol(self) -> str:
        return str(self.cut.protocol)

    def score(self, model: nn.Module, reference: nn.Module) -> Evidence:
        found = score_tokens(model, self.cut, reference=reference)
        values = {"nll": found.nll, "kl": found.kl, "top1": found.same}
        counts = found.window.bincount().tolist()
        return Evidence(sums={k: _by(v, found.window) for k, v in values.items() if v is not None}, counts=counts)


@dataclass(frozen=True, kw_only=True)
class ImageVerification:
    """Batches of images, with labels for `accuracy`."""

    batches: Batches
    digest: str
    name: str = "images"
    protocol: str = "images"

    def score(self, model: nn.Module, reference: nn.Module) -> Evidence:
        found = score_images(model, self.batches, reference=reference)
        values = {"accuracy": found.correct, "kl": found.kl, "top1": found.same}
        sums = {k: v.double().tolist() for k, v in values.items() if v is not None}
        return Evidence(sums=sums, counts=[1] * found.count)


@dataclass(frozen=True, kw_only=True)
class LossVerification:
    """Batches for a loss function of the user's: `loss_of(model, batch)`, a mean."""

    batches: Sequence[Any]
    loss_of: Any
    digest: str
    name: str = "batches"
    protocol: str = "batches"

    def score(self, model: nn.Module, reference: nn.Module) -> Evidence:
        with torch.no_grad():
            losses = [float(self.loss_of(model, batch)) for batch in self.batches]
        return Evidence(sums={"loss": losses}, counts=[1] * len(losses))


class Judge:
    """Measures plans on the verification data, each once."""

    def __init__(self, trial: Trial, data: Verification, store: Store) -> None:
        self.trial, self.data, self.store = trial, data, store
        self._reference: Remembered | None = None

    def evidence(self, choice: Sequence[int]) -> Evidence:
        """What a plan measures."""
        found = self.store.get(self._key(choice), lambda: self._score(choice))
        return Evidence(sums=found["sums"], counts=found["counts"])

    def known(self, choice: Sequence[int]) -> Evidence | None:
        """What a plan was measured at before; None where it was not."""
        found = self.store.known(self._key(choice))
        return None if found is None else Evidence(sums=found["sums"], counts=found["counts"])

    def _key(self, choice: Sequence[int]) -> str:
        names = " ".join(f"{u.name}={u.options[c]}" for u, c in zip(self.trial.space.units, choice, strict=True))
        return f"verify {self.data.digest} {names}"

    def original(self) -> Evidence:
        return self.evidence(self.trial.space.kept())

    def _score(self, choice: Sequence[int]) -> dict[str, Any]:
        if self._reference is None:  # it answers from memory once the original has read everything
            self._reference = Remembered(self.trial.model)
            self.trial.apply(self.trial.space.kept())
            self.data.score(self._reference, self._reference)
        self.trial.apply(choice)
        found = self.data.score(self.trial.model, self._reference)
        return {"sums": {k: list(v) for k, v in found.sums.items()}, "counts": list(found.counts)}


def _by(values: Tensor, cluster: Tensor) -> list[float]:
    return torch.zeros(int(cluster.max()) + 1, dtype=torch.float64).index_add_(0, cluster, values.double()).tolist()

"""The data of a search: what plans are chosen by, what gradients are taken on, and what the result is verified on.

None of what is verified on is ever chosen by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.measure.windows import cut
from fewbits.search.judge import ImageVerification, LossVerification, TextVerification, Verification
from fewbits.search.objective import Divergence, LossRise, Objective, digest_of, spread_windows

WINDOW, SHORT = 256, 128  # tokens: of the windows chosen by, and of those that gradients are taken on


@dataclass(frozen=True, kw_only=True)
class TuneData:
    """See the module."""

    choose: Objective
    gradients: Objective
    verify: Verification


def text_data(
    ids: Int[Tensor, " n"],
    *,
    bos: int | None,
    verify: Int[Tensor, " m"] | None = None,
    tokens: int = 4096,
    samples: int = 64,
    verify_tokens: int = 10_000,
    protocol: str = "windows:512",
    window: int = WINDOW,
    short: int = SHORT,
    seed: int = 0,
) -> TuneData:
    """For a language model. Without `verify`, the last third of the text is kept for it, and nothing is chosen by that.

    Plans are chosen by windows of `window` tokens, gradients taken on others of `short` tokens, both spread evenly over the
    text. Raises FewbitsError for a text too short for that.
    """
    if verify is None:
        ids, verify = ids[: len(ids) * 2 // 3], ids[len(ids) * 2 // 3 :]
    if len(ids) < 2 * short:
        raise FewbitsError(f"{len(ids)} tokens are too few to choose a plan by: give at least {3 * short}, better 20,000")
    window = min(window, len(ids) // 2)
    windows = spread_windows(ids, max(1, tokens // window), window, bos=bos)
    pieces = spread_windows(ids, samples, short, bos=bos)
    return TuneData(
        choose=Divergence(windows.split(4), causal=True, seed=seed),
        gradients=Divergence(pieces.split(8), causal=True, seed=seed),
        verify=TextVerification(cut=cut(verify[:verify_tokens], protocol, bos=bos)),
    )


def image_data(
    images: Float[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    *,
    verify: tuple[Float[Tensor, "m ..."], Int[Tensor, " m"]] | None = None,
    choose: int = 400,
    samples: int = 64,
    seed: int = 0,
) -> TuneData:
    """For a classifier: images as it reads them. Without `verify`, those that are not among the first `choose` are for it.

    Raises FewbitsError for fewer than 64 images.
    """
    if len(images) < 64:
        raise FewbitsError(f"{len(images)} images are too few to tune by: give at least 64, better 1,000")
    choose = min(choose, len(images) // 2) if verify is None else min(choose, len(images))
    rest = verify or (images[choose:], labels[choose:])
    mine = images[:choose]
    each = max(1, choose // samples)
    batches = list(zip(rest[0].split(100), rest[1].split(100), strict=True))
    return TuneData(
        choose=Divergence(mine.split(100), causal=False, seed=seed),
        gradients=Divergence(mine.split(100), causal=False, sample=each, seed=seed),
        verify=ImageVerification(batches=batches, digest=digest_of([rest])),
    )


def loss_data(
    choose: Sequence[Any], verify: Sequence[Any], loss_of: Callable[[nn.Module, Any], Tensor], *, digest: str = ""
) -> TuneData:
    """For any module: batches to choose by, others to verify on, and `loss_of(model, batch)`, a mean with gradient.

    Batches that are not tensors, or tuples of them, need a `digest` that names them.
    """
    objective = LossRise(choose, loss_of, digest=digest)
    held = digest or digest_of(verify)
    if torch.is_tensor(choose) or not len(choose) or not len(verify):
        raise FewbitsError("give lists of batches, to choose by and to verify on")
    return TuneData(
        choose=objective,
        gradients=objective,
        verify=LossVerification(batches=tuple(verify), loss_of=loss_of, digest=held),
    )

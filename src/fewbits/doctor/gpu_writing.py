"""Writing on a GPU: one sequence in bfloat16, by the fastest decoder that takes the model."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.doctor.bench import Decoding, as_trained
from fewbits.doctor.predict import bytes_per_token, plain_plan, twin
from fewbits.plan import Plan
from fewbits.runtime.decode import Decoder, GraphDecoder, decoder_for
from fewbits.runtime.sampling import Sampling

PROMPT, NEW = 64, 256


def time_writing(name: str, schemes: Sequence[str], repeats: int) -> list[Decoding]:
    """Writing by a model as it is and in each scheme, each alone on the GPU: the median of its runs, the prompt left out."""
    from fewbits.apply import plan_of, quantize

    whole: Any = as_trained(name, "bfloat16").cuda()
    plans = [None, *(plain_plan(Plan.of(scheme)) for scheme in schemes)]
    ids = torch.randint(0, whole.config.vocab_size, (1, PROMPT), generator=torch.Generator().manual_seed(0)).cuda()
    found: list[Decoding] = []
    for plan in plans:
        side = twin(whole)
        if plan is not None:
            quantize(side, plan)
        decoder = decoder_for(side, 1, PROMPT + NEW + 1, Sampling())
        speeds = [speed(decoder, ids) for _ in range(repeats + 1)][1:]  # the first compiles
        found.append(Decoding(model=name, plan=plan_of(side), speed=median(speeds), bytes_per_token=bytes_per_token(side, 2)))
    return found


def speed(decoder: Decoder, ids: Int[Tensor, "1 n"]) -> float:
    """Tokens each second after the first, which ends the prompt's own work (and after the second, if that records a graph)."""
    pieces = decoder.tokens(ids, None, NEW + 1)
    for _ in range(2 if isinstance(decoder, GraphDecoder) else 1):
        next(pieces)
    _wait(ids)
    start = time.perf_counter()
    made = sum(piece.shape[1] for piece in pieces)
    _wait(ids)
    return made / (time.perf_counter() - start)


def _wait(ids: Tensor) -> None:
    if ids.is_cuda:
        torch.cuda.synchronize(ids.device)

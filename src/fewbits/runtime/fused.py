"""Which models a fused step computes: recognised, held against their own forward, and remembered until something changes.

What was found hangs on the model with a fingerprint of what it rests on; every call of `generate` compares it with the model as
it is then.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fewbits.runtime import fingerprint, nvrtc, untouched, verify
from fewbits.runtime.cpu.linear import Forgotten
from fewbits.runtime.fingerprint import Fingerprint
from fewbits.runtime.known import failed
from fewbits.runtime.structure import Structure, UnknownStructure, check_length, recognise

_MEMORY = "_fewbits_fused"


@dataclass(kw_only=True, eq=False)
class Memory(Forgotten):
    """What is known of a model; copies and pickles of the model do not have it."""

    fingerprint: Fingerprint
    structure: Structure | None = None
    why: str | None = None  # it is not recognised
    verdicts: dict[object, str | None] = field(default_factory=dict)
    engine: Any = None


def memory_of(model: Any) -> Memory:
    """What is known of a model, found anew if the model was changed."""
    known, now = model.__dict__.get(_MEMORY), _fingerprint(model)
    if known is not None and now is not None and known.fingerprint.same(now):
        return known
    memory = Memory(fingerprint=now or Fingerprint(objects=[], facts=[object()]))
    try:
        structure = recognise(model)
        untouched.check_dropout(model)
        memory.structure = structure
    except UnknownStructure as reason:
        memory.why = str(reason)
    model.__dict__[_MEMORY] = memory
    return memory


def known(model: Any) -> tuple[Memory, Structure]:
    """What is known of a model and its parts. Raises UnknownStructure for one that is not recognised."""
    memory = memory_of(model)
    if memory.structure is None:
        raise UnknownStructure(memory.why or "it is not recognised")
    if torch.is_autocast_enabled(model.device.type):
        raise UnknownStructure("autocast is on")
    untouched.check_global_hooks()
    return memory, memory.structure


def check(model: Any, memory: Memory, way: object, compare: Callable[[], str | None]) -> None:
    """Hold one way of computing the model against its own forward, once for each `way` while the model stays as it is.

    `compare` says why they differ, or None. Raises UnknownStructure if they do, or if either fails.
    """
    if way not in memory.verdicts:
        try:
            memory.verdicts[way] = compare()
        except UnknownStructure as reason:
            memory.verdicts[way] = str(reason)
        except (MemoryError, torch.OutOfMemoryError) as error:  # perhaps not the next time
            raise UnknownStructure("there is no memory for it") from error
        except Exception as error:
            memory.verdicts[way] = str(failed("its check failed", error))
        finally:
            _settle(model, memory)
    if (why := memory.verdicts[way]) is not None:
        raise UnknownStructure(why)


def _settle(model: Any, memory: Memory) -> None:
    """Take the model as it is now for the one that is known: preparing its layers for kernels replaced their tensors."""
    memory.fingerprint = _fingerprint(model) or memory.fingerprint


def engine_for(model: Any, length: int) -> Any:
    """The model's engine on the GPU for one sequence of up to `length` tokens, made when first needed or when a longer cache is.

    Raises:
        UnknownStructure: if the model is not recognised, its logits differ, or the kernel cannot compute it.
    """
    memory, structure = known(model)
    check_length(structure, model.config, length)
    if not is_on_gpu(model):
        raise UnknownStructure(nvrtc.unavailable() or f"the model is on the {model.device.type}")
    if memory.engine is not None and memory.engine.max_len >= length:
        return memory.engine
    size = -(-length // 256) * 256
    if memory.verdicts.get(("cuda", size), "refused") is None:
        del memory.verdicts["cuda", size]  # its engine made room for a longer one, which could not be made
    check(model, memory, ("cuda", size), lambda: _make_engine(model, memory, structure, size))
    return memory.engine


def is_on_gpu(model: Any) -> bool:
    """Whether all of a model's parameters are on one CUDA device."""
    return {p.device for p in model.parameters()} == {model.device} and model.device.type == "cuda"


def _make_engine(model: Any, memory: Memory, structure: Structure, size: int) -> str | None:
    """Make the engine and keep it if it computes what the model does; else why not."""
    from fewbits.runtime.step import StepEngine

    memory.engine = None  # its cache goes before a longer one is made
    engine = StepEngine(structure, max_len=size)
    why = verify.engine_differs(model, structure, engine)
    memory.engine = engine if why is None else None
    return why


def _fingerprint(model: nn.Module) -> Fingerprint | None:
    try:
        return fingerprint.take(model)
    except Exception:  # tensors or settings that cannot be looked at: never the same
        return None

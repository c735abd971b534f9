"""One model's greedy text, by `fewbits.generate` and by its own `generate`: equal, refused, or wrong."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import fewbits
from fewbits.errors import FewbitsError
from fewbits.runtime.cache import takes
from tests.runtime import zoo

PROMPT, NEW = 21, 24  # past the windows and the original contexts of zoo.py
_TIE = 1e-3  # of the largest logit: closer ones are a tie


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`kind`: equal, tie (equal but for the choice between logits that are), refused, unbuilt, broken (its own generate fails), wrong."""

    kind: str
    why: str = ""


def census(name: str) -> dict[str, Verdict]:
    """The verdicts of a model: float, float with a padded batch, quantized."""
    try:
        model = zoo.build(name)
    except Exception as error:
        return {"float": Verdict(kind="unbuilt", why=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")}
    found = {"float": compare(model), "padded": compare_padded(model)}
    model = zoo.build(name)  # anew: rotary embeddings that grow remember the sequences above
    try:
        fewbits.quantize(model, "uint8g16", on_misfit="keep")
    except FewbitsError as error:
        return found | {"quantized": Verdict(kind="refused", why=str(error))}
    return found | {"quantized": compare(model)}


def compare(model: Any) -> Verdict:
    """Two prompts of one length."""
    ids, fresh = zoo.prompts(2, PROMPT), copy.deepcopy(model)
    try:
        want = own(fresh, ids)
    except Exception as error:
        return _broken(model, ids, error)
    try:
        got = fewbits.generate(model, ids, max_new_tokens=NEW, stop=())
        alone = fewbits.generate(model, ids[0], max_new_tokens=NEW, stop=())
    except FewbitsError as error:
        return Verdict(kind="refused", why=str(error))
    verdict = judge(model, ids, got, want)
    return verdict if verdict.kind != "equal" else judge(model, ids[:1], alone[None], own(fresh, ids[:1]))


def compare_padded(model: Any) -> Verdict:
    """A row of a padded batch continues as it does alone."""
    ids, fresh = zoo.prompts(2, PROMPT), copy.deepcopy(model)
    try:
        got = fewbits.generate(model, [ids[0].tolist(), ids[1, 6:].tolist()], max_new_tokens=NEW, stop=())
        want = own(fresh, ids[1:, 6:])
    except FewbitsError as error:
        return Verdict(kind="refused", why=str(error))
    except Exception as error:
        return _broken(model, ids, error)
    return judge(model, ids[1:, 6:], got[1:], want)


def own(model: Any, ids: Tensor) -> Tensor:
    """The new tokens of the own greedy generate of a copy: rotary embeddings that grow remember earlier sequences."""
    model = copy.deepcopy(model)
    mask = {"attention_mask": torch.ones_like(ids)} if takes(model, "attention_mask") else {}
    made = model.generate(ids, **mask, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)
    return made[:, ids.shape[1] :]


def judge(model: Any, ids: Tensor, got: Tensor, want: Tensor) -> Verdict:
    """Equal tokens, or for each sequence a tie where they first differ."""
    if torch.equal(got, want):
        return Verdict(kind="equal")
    for row in range(len(ids)):
        differs = (got[row] != want[row]).nonzero()
        if not len(differs):
            continue
        at = int(differs[0])
        before = torch.cat([ids[row], want[row, :at]])[None]
        with torch.no_grad():
            logits = model(before, use_cache=False).logits[0, -1].float()
        apart = float(logits[want[row, at]] - logits[got[row, at]])
        if abs(apart) > _TIE * float(logits.abs().max()):
            return Verdict(kind="wrong", why=f"row {row}, token {at}: the logits are {apart:.3g} apart")
    return Verdict(kind="tie")


def _broken(model: Any, ids: Tensor, error: Exception) -> Verdict:
    why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    try:
        fewbits.generate(model, ids, max_new_tokens=NEW, stop=())
    except FewbitsError as refusal:
        return Verdict(kind="refused", why=str(refusal))
    except Exception as other:
        return Verdict(kind="wrong", why=f"{type(other).__name__}: {other}")
    return Verdict(kind="broken", why=why)

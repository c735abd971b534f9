"""Which layers a model keeps by default: embeddings, its output head, and the routers of mixtures of experts."""

from torch import nn

HEADS = ("lm_head", "embed_out", "classifier", "head", "head_dist", "score")  # by the last part of the name
ROUTERS = ("router", "gate")  # a mixture's `gate` is a layer of its own; `gate_proj` is an ordinary one


def kept_by_default(model: nn.Module) -> dict[str, str]:
    """Name of each layer that only a rule which names it may quantize, and why."""
    heads = _heads(model)
    kept = {}
    for name, module in model.named_modules(remove_duplicate=False):
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding):
            kept[name] = "embedding"
        elif id(module) in heads or (last in HEADS and isinstance(module, nn.Linear | nn.Conv2d)):
            kept[name] = "output head"
        elif last in ROUTERS and isinstance(module, nn.Linear):
            kept[name] = "router"
    return kept


def _heads(model: nn.Module) -> set[int]:
    """What transformers and timm themselves call the head."""
    found: set[int] = set()
    for ask in ("get_output_embeddings", "get_classifier"):
        answer = getattr(model, ask)() if callable(getattr(model, ask, None)) else None
        parts = answer if isinstance(answer, tuple) else (answer,)
        found |= {id(part) for part in parts if isinstance(part, nn.Module)}
    return found

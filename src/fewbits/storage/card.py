"""The README of a saved folder: what it is, how it was made, what was measured, how it is loaded."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from torch import nn

from fewbits.measure.result import Measure
from fewbits.plan import Decision
from fewbits.scheme import KEEP
from fewbits.storage.manifest import Manifest

_AUTO = {"ForCausalLM": "AutoModelForCausalLM", "LMHeadModel": "AutoModelForCausalLM"}
_AUTO |= {"ForImageClassification": "AutoModelForImageClassification"}


def readme(model: nn.Module, manifest: Manifest, measures: Sequence[Measure], nbytes: int) -> str:
    """The card as Markdown. `nbytes` is the size of the weight files in bytes."""
    parts = [_front_matter(manifest), _title(model, manifest), _plan(manifest, nbytes)]
    if measures:
        parts.append(_measures(measures))
    parts.append(_loading(type(model), manifest))
    return "\n\n".join(parts) + "\n"


def is_hub_id(source: str | None) -> bool:
    """Whether this is `owner/name` or `owner/name@commit`, and no folder of this machine."""
    return bool(source and re.fullmatch(r"[\w.-]+/[\w.-]+(@\w+)?", source) and not Path(source).exists())


def _front_matter(manifest: Manifest) -> str:
    data: dict[str, object] = {}
    if is_hub_id(manifest.source):
        data |= {"base_model": _repository(manifest), "base_model_relation": "quantized"}
    if manifest.library != "torch":
        data["library_name"] = manifest.library
    data["tags"] = ["fewbits", "quantized"]
    return f"---\n{yaml.safe_dump(data, sort_keys=False)}---"


def _repository(manifest: Manifest) -> str:
    """The hub's name of the original, without the commit."""
    return (manifest.source or "").partition("@")[0]


def _title(model: nn.Module, manifest: Manifest) -> str:
    name = Path(_repository(manifest)).name or type(model).__name__
    where = f"`{name}`"
    if is_hub_id(manifest.source):
        where = f"[{manifest.source}](https://huggingface.co/{_repository(manifest)})"
    return f"# {name}, quantized\n\nThis is {where}, quantized by fewbits with the plan `{manifest.plan}`."


def _plan(manifest: Manifest, nbytes: int) -> str:
    plan = manifest.plan
    rules = "\n".join(f"| `{rule.match}` | `{rule.scheme or KEEP}` |" for rule in plan.rules)
    return "\n\n".join(
        [
            "## Plan",
            f"{plan.coverage:.1%} of {plan.total_params:,} parameters are quantized; the weight files take {nbytes:,} bytes.",
            f"| layers | scheme |\n|---|---|\n{rules}",
            f"What became of the layers (`plan.yaml` lists every one):\n\n{_layers(plan.decisions)}",
        ]
    )


def _layers(decisions: Iterable[Decision]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    params: Counter[tuple[str, str]] = Counter()
    for d in decisions:
        key = (str(d.scheme or KEEP), "tied" if d.tied_to else d.kind)
        counts[key] += 1
        params[key] += 0 if d.tied_to else d.params
    lines = [f"| `{scheme}` | {kind} | {counts[scheme, kind]} | {params[scheme, kind]:,} |" for scheme, kind in counts]
    return "\n".join(["| scheme | kind | layers | weights |", "|---|---|---|---|", *lines])


def _measures(measures: Sequence[Measure]) -> str:
    lines = [
        f"| {m.name} | {m.value:.6g} | {m.unit} | {'' if m.se is None else f'{m.se:.2g}'} | {m.n or ''} | {m.protocol or ''} |"
        for m in measures
    ]
    head = ["| measure | value | unit | standard error | n | protocol |", "|---|---|---|---|---|---|"]
    return "\n".join(["## Measures", "", *head, *lines])


def _loading(kind: type[nn.Module], manifest: Manifest) -> str:
    if kind.__module__.startswith("transformers."):
        return f"## Loading\n\n{_ours()}\n\n{_theirs(kind.__name__)}"
    if kind.__module__.startswith("fewbits."):
        return f"## Loading\n\n{_ours()}"
    if manifest.library == "timm":
        return f"## Loading\n\n{_ours()}\n\ntimm alone cannot read it: `timm.create_model` knows no quantized layers."
    own = f"model = fewbits.load(FOLDER, model={kind.__name__}(...))  # a float model of your own class, to be filled"
    return f"## Loading\n\n```python\nimport fewbits\n\n{own}\n```"


def _ours() -> str:
    return "```python\nimport fewbits\n\nmodel = fewbits.load(FOLDER)\n```"


def _theirs(kind: str) -> str:
    auto = next((auto for end, auto in _AUTO.items() if kind.endswith(end)), kind)
    return f"""Or by transformers itself, here or from the hub:

```python
import fewbits  # before from_pretrained: it registers the quantizer
from transformers import {auto}

model = {auto}.from_pretrained(FOLDER)
```

Without `import fewbits` transformers refuses the folder: "... this model was quantized by fewbits: pip install -U fewbits,
and `import fewbits` before from_pretrained". Given `ignore_mismatched_sizes=True` and a configuration from elsewhere it
would not, and the quantized layers would be **random**."""

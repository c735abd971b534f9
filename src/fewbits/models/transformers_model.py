"""Models in transformers' format: built from their configuration, filled from safetensors, and checked to be whole."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.models.boundary import library
from fewbits.models.bounded import bounded
from fewbits.models.configuration import check_code, check_original, task_of
from fewbits.models.loaded import Task
from fewbits.models.options import Options
from fewbits.models.quiet import quietly, transformers
from fewbits.models.weights import bound_of, check_floats, check_leftovers, check_weights

_SHOWN = 3  # names of keys in a message
_log = logging.getLogger("fewbits")


def load(folder: Path, config: Mapping[str, Any], options: Options, *, called: str) -> tuple[nn.Module, Task]:
    """The model of a folder, and what it is for; `called` is the folder's name in messages.

    Without weights it is on the meta device, in the dtype of its configuration, and shares what weights it ties. Raises
    FewbitsError for what cannot be loaded, and for a checkpoint that lacks some of the model's weights; one that has weights
    for which the model has no place gives a warning in the log `fewbits`.
    """
    check_original(called, config)
    found = check_weights(folder) if options.weights else {}
    bound = bound_of(folder)
    with quietly():
        from fewbits.models import digits  # here, so that transformers is imported quietly

        digits.register()
        check_code(called, config, trusted=options.trust_remote_code)
        task = task_of(called, config)
        settings = _configuration(folder, options, called)
        auto = _auto_class(task)
        if not options.weights:
            with _said_of(called), bounded(bound):
                return _without_weights(auto, settings, options, called), task
        with _said_of(called), bounded(bound):
            model, report = _filled(auto, folder, settings, options, called)
    _check_report(report, called)
    check_floats(called, model, found)
    return model.to(options.device), task


@contextmanager
def _said_of(called: str) -> Iterator[None]:
    """Put the folder's name before what goes wrong."""
    try:
        yield
    except FewbitsError as error:
        raise error if str(error).startswith(called) else FewbitsError(f"{called}: {error}") from error.__cause__


def _auto_class(task: Task) -> Any:
    package = transformers()
    return package.AutoModelForCausalLM if task == "causal-lm" else package.AutoModelForImageClassification


def _configuration(folder: Path, options: Options, called: str) -> Any:
    with library(f"{called}: transformers cannot use its config.json"):
        return transformers().AutoConfig.from_pretrained(
            folder, trust_remote_code=options.trust_remote_code, local_files_only=True
        )


def _without_weights(auto: Any, settings: Any, options: Options, called: str) -> nn.Module:
    dtype = options.dtype or getattr(settings, "dtype", None) or torch.float32
    with library(f"{called}: transformers cannot build it from its config.json"), torch.device("meta"):
        model = auto.from_config(settings, dtype=dtype, trust_remote_code=options.trust_remote_code)
        model.tie_weights()
    return model.eval()


def _filled(auto: Any, folder: Path, settings: Any, options: Options, called: str) -> tuple[nn.Module, Mapping[str, Any]]:
    with library(f"{called}: transformers cannot load it"):
        return auto.from_pretrained(
            folder,
            config=settings,
            dtype=options.dtype or "auto",
            trust_remote_code=options.trust_remote_code,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused below with their names
        )


def _check_report(report: Mapping[str, Any], called: str) -> None:
    """What transformers only warns of: weights that were not found are random numbers."""
    if missing := sorted(report["missing_keys"]):
        raise FewbitsError(f"{called}: its weights lack {_some(missing)}: is the checkpoint whole, and of this architecture?")
    if wrong := sorted(report["mismatched_keys"]):
        name, have, want = wrong[0]
        raise FewbitsError(
            f"{called}: {name} is stored as {list(have)}, by config.json it is {list(want)}: do they go together?"
        )
    unused = sorted(report["unexpected_keys"])
    check_leftovers(called, unused)
    if unused:
        _log.warning("%s: warning: the model has no place for %s, which the checkpoint holds", called, _some(unused))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

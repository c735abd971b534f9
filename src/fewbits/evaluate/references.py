"""The models that others are held against, for `kl` and `top1`.

The reference is what the user names; else the model that a scheme was applied to; else the original that a saved folder
remembers, if it can be loaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from fewbits import models
from fewbits.apply import plan_of
from fewbits.data.class_names import same_names
from fewbits.errors import FewbitsError
from fewbits.evaluate.casting import prepare_reference
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.quality import Quality
from fewbits.evaluate.settings import Settings
from fewbits.measure.divergence import Remembered
from fewbits.measure.running import config_value
from fewbits.models import Loaded
from fewbits.storage.load import original_of

REMEMBERED = 1 << 28  # bytes of a reference's answers that are kept for the next model
_AGAINST = ("kl", "top1")


@dataclass(kw_only=True)
class References:
    """Loads each reference once. `load` loads a model by its name."""

    settings: Settings
    load: Callable[[str], Loaded]
    _known: dict[str, Loaded] = field(default_factory=dict)
    _own: dict[str, Loaded] = field(default_factory=dict)

    def find(self, entries: Sequence[Entry], schemes: Sequence[Entry], quality: Quality) -> None:
        """Give each entry its reference; `schemes` are those that were made from the first model.

        Raises:
            FewbitsError: The reference that the user names cannot be loaded, or none of the models can be held against it.
        """
        held = [entry for entry in entries if self._wanted(entry)]
        if self.settings.reference is None:
            self._own = {e.loaded.name: e.loaded for e in entries if plan_of(e.model) is None}
        pairs = [(entry, self._reference(entry, entries[0], entry in schemes)) for entry in held]
        problems = [(entry, error) for entry, found in pairs if found and (error := _mismatch(entry.loaded, found, quality))]
        if problems and self.settings.reference is not None and len(problems) == len(pairs):
            raise problems[0][1]
        for entry, error in problems:
            entry.fail(_AGAINST, error)
        used = [(entry, found) for entry, found in pairs if found and not set(_AGAINST) & set(entry.errors)]
        counts = {id(found.model): sum(found is other for _, other in used) for _, found in used}
        shared: dict[int, nn.Module] = {}
        for entry, found in used:
            key = id(found.model)
            if key not in shared:
                shared[key] = Remembered(found.model, most=REMEMBERED) if counts[key] > 1 else found.model
            entry.reference = shared[key]

    def _wanted(self, entry: Entry) -> bool:
        return bool(set(_AGAINST) & set(self.settings.applicable(entry.loaded.task)))

    def _reference(self, entry: Entry, first: Entry, of_first: bool) -> Loaded | None:
        name = self.settings.reference or _original(entry, first if of_first else None)
        if name is None:
            return None
        if name in self._own:
            return self._own[name]
        try:
            if name not in self._known:
                self._known[name] = self._loaded(name, entry)
                prepare_reference(self._known[name].model, self.settings)
        except FewbitsError as error:
            if self.settings.reference:
                raise
            entry.notes.append(f"{entry.loaded.name}: kl and top1 skipped: cannot load the original model: {error}")
            return None
        return self._known[name]

    def _loaded(self, name: str, entry: Entry) -> Loaded:
        """A reference that the user names is loaded as any model; one that a saved folder names, without download or code."""
        settings, folder = self.settings, entry.loaded.folder
        if settings.reference is None and folder is not None and name == original_of(folder):
            return models.load_original(name, classes=settings.classes, device=settings.device)
        return self.load(name)


def _original(entry: Entry, base: Entry | None) -> str | None:
    """The name of the model that this one was made from; None for one that is not quantized."""
    if plan_of(entry.model) is None:
        return None
    if base is not None:
        return base.loaded.name
    return None if entry.loaded.folder is None else original_of(entry.loaded.folder)


def _mismatch(model: Loaded, reference: Loaded, quality: Quality) -> FewbitsError | None:
    """Why a model cannot be held against another: of another task, other tokens, or other classes."""
    if model.task != reference.task:
        return FewbitsError(
            f"{model.name} is for {model.task}, its reference {reference.name} for {reference.task}: compare models of one task"
        )
    if model.task == "causal-lm":
        return _other_tokens(model, reference, quality)
    return _other_classes(model, reference)


def _other_tokens(model: Loaded, reference: Loaded, quality: Quality) -> FewbitsError | None:
    have, want = (config_value(each.model, "vocab_size") for each in (model, reference))
    if None not in (have, want) and have != want:
        return FewbitsError(
            f"{model.name} has a vocabulary of {have}, its reference {reference.name} one of {want}: compare models of one tokenizer"
        )
    if model.tokenizer is None or reference.tokenizer is None:
        return None
    try:
        ids = quality.tokens(model).ids.unique().tolist()
    except FewbitsError:  # reported when the text is checked
        return None
    pairs = zip(ids, *(_tokens(each.tokenizer, ids) for each in (model, reference)), strict=True)
    other = next((pair for pair in pairs if pair[1] != pair[2]), None)
    if other is None:
        return None
    index, ours, theirs = other
    return FewbitsError(
        f"token {index} is {ours!r} for {model.name} and {theirs!r} for its reference {reference.name}: compare models of one tokenizer"
    )


def _tokens(tokenizer: object, ids: list[int]) -> list[str | None]:
    convert = getattr(tokenizer, "convert_ids_to_tokens", None)
    return [None] * len(ids) if convert is None else convert(ids)


def _other_classes(model: Loaded, reference: Loaded) -> FewbitsError | None:
    if None not in (model.num_classes, reference.num_classes) and model.num_classes != reference.num_classes:
        return FewbitsError(
            f"{model.name} has {model.num_classes} classes, its reference {reference.name} {reference.num_classes}:"
            " compare models of the same classes"
        )
    if same_names(model.labels, reference.labels):
        for index, (ours, theirs) in enumerate(zip(model.labels, reference.labels, strict=True)):
            if not same_names([ours], [theirs]):
                return FewbitsError(
                    f"class {index} is '{ours}' for {model.name} and '{theirs}' for its reference {reference.name}:"
                    " compare models that number their classes alike"
                )
    return None

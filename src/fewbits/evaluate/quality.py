"""Quality of the models of a comparison, all on the same data."""

from dataclasses import dataclass, field

from fewbits import data
from fewbits.data import ImageData, TokenData
from fewbits.errors import FewbitsError
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.settings import QUALITY, Settings
from fewbits.measure.protocols import Sentences, parse_protocol
from fewbits.measure.quality import Outcome, image_outcome, text_outcome
from fewbits.measure.result import Measure
from fewbits.measure.running import check_ids, check_positions, image_channels
from fewbits.measure.windows import Cut, cut
from fewbits.models import Loaded
from fewbits.storage.load import original_of

CARRIED = "demo-vision"  # the classifier whose images come along too


@dataclass(kw_only=True)
class Quality:
    """Reads the data once for each tokenizer or preprocessing; `sources` says what was read, for the foot of a table."""

    settings: Settings
    sources: list[str] = field(default_factory=list)
    _texts: dict[int, TokenData] = field(default_factory=dict)
    _checked: dict[int, ImageData] = field(default_factory=dict)  # by model, from `check` until they are measured on

    def of(self, entry: Entry) -> dict[str, Measure]:
        """`ppl` or `accuracy`, and `kl` and `top1` if there is a reference: those of them that are wanted. Raises any error."""
        wanted = self._wanted(entry)
        if not wanted:
            return {}
        return {name: measure for name, measure in self._outcome(entry).all().items() if name in wanted}

    def check(self, entry: Entry) -> None:
        """Raise FewbitsError if the data cannot be read by the model, before anything is computed."""
        if not self._wanted(entry):
            return
        if entry.loaded.task != "causal-lm":
            self._checked[id(entry.model)] = self._images(entry.loaded)
            return
        pieces = self._pieces(entry.loaded)
        check_positions(entry.model, pieces.longest, f"'{pieces.protocol}' makes windows")
        check_ids(entry.model, (window.ids for window in pieces.windows))

    def add_to(self, entry: Entry) -> None:
        """Measure what is wanted and can be measured; the entry keeps the reasons for the rest."""
        wanted = self._wanted(entry)
        if not wanted:
            return
        try:
            found = self._outcome(entry)
        except Exception as error:  # of any type: the data's own
            entry.fail(sorted(wanted), error)
            return
        entry.add({name: measure for name, measure in found.measures.items() if name in wanted})
        for name, error in found.errors.items():
            if name in wanted and name not in entry.errors:
                entry.fail([name], error)

    def _wanted(self, entry: Entry) -> frozenset[str]:
        return QUALITY.intersection(self.settings.applicable(entry.loaded.task)) - set(entry.errors)

    def _outcome(self, entry: Entry) -> Outcome:
        size = self.settings.batch_size
        if entry.loaded.task == "causal-lm":
            return text_outcome(entry.model, self._pieces(entry.loaded), reference=entry.reference, batch_size=size)
        images = self._checked.pop(id(entry.model), None) or self._images(entry.loaded)
        return image_outcome(entry.model, images.batches(size or 128), reference=entry.reference)

    def _pieces(self, loaded: Loaded) -> Cut:
        tokens = self.tokens(loaded)
        protocol = parse_protocol(self.settings.protocol)
        return cut(tokens.lines() if isinstance(protocol, Sentences) else tokens.ids, protocol, bos=tokens.bos)

    def tokens(self, loaded: Loaded) -> TokenData:
        """The text as this model's tokenizer reads it."""
        name = self.settings.text or "demo"  # the language reference that comes with every Python
        key = (
            hash(loaded.tokenizer.backend_tokenizer.to_str()) if hasattr(loaded.tokenizer, "backend_tokenizer") else id(loaded)
        )
        if key not in self._texts:
            self._texts[key] = data.load_text(name, tokenizer=loaded.tokenizer, max_tokens=self.settings.max_tokens)
            self._note_source(self._texts[key].source)
        return self._texts[key]

    def _images(self, loaded: Loaded) -> ImageData:
        images = data.load_images(
            self.settings.images or self._carried(loaded),
            max_images=self.settings.max_images,
            processor=loaded.processor,
            labels=loaded.labels,
            num_classes=loaded.num_classes,
            channels=image_channels(loaded.model),
        )
        self._note_source(images.source)
        return images

    def _carried(self, loaded: Loaded) -> str:
        """The digits, for the model that was trained on them and what was made of it."""
        original = loaded.source if loaded.folder is None else original_of(loaded.folder)
        if CARRIED in (loaded.source, original):
            return "demo"
        raise FewbitsError(
            f"{loaded.name}: no images to measure quality on: --images FILE.npz, a folder of classes or cifar100;"
            " or --measure size and others without quality"
        )

    def _note_source(self, source: str) -> None:
        if source not in self.sources:
            self.sources.append(source)

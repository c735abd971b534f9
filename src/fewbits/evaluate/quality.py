"""Quality of the models of a comparison, all on the same data."""

from dataclasses import dataclass, field

from fewbits import data
from fewbits.data import TokenData
from fewbits.errors import FewbitsError
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.settings import QUALITY, Settings
from fewbits.measure.protocols import Sentences, parse_protocol
from fewbits.measure.quality import image_quality, text_quality
from fewbits.measure.result import Measure
from fewbits.measure.running import image_channels
from fewbits.models import Loaded
from fewbits.storage.load import original_of

CARRIED = "demo-vision"  # the classifier whose images come along too


@dataclass(kw_only=True)
class Quality:
    """Reads the data once for each tokenizer or preprocessing; `sources` says what was read, for the foot of a table."""

    settings: Settings
    sources: list[str] = field(default_factory=list)
    _texts: dict[int, TokenData] = field(default_factory=dict)

    def of(self, entry: Entry) -> dict[str, Measure]:
        """`ppl` or `accuracy`, and `kl` and `top1` where there is a reference: those of them that are wanted."""
        wanted = QUALITY.intersection(self.settings.wanted(entry.loaded.task))
        if not wanted:
            return {}
        found = self._text(entry) if entry.loaded.task == "causal-lm" else self._images(entry)
        return {name: measure for name, measure in found.items() if name in wanted}

    def _text(self, entry: Entry) -> dict[str, Measure]:
        settings, tokens = self.settings, self._tokens(entry)
        protocol = parse_protocol(settings.protocol)
        ids = tokens.lines() if isinstance(protocol, Sentences) else tokens.ids
        return text_quality(
            entry.model, ids, protocol, bos=tokens.bos, reference=entry.reference, batch_size=settings.batch_size
        )

    def _tokens(self, entry: Entry) -> TokenData:
        loaded = entry.loaded
        name = self.settings.text or "demo"  # the language reference that comes with every Python
        key = (
            hash(loaded.tokenizer.backend_tokenizer.to_str()) if hasattr(loaded.tokenizer, "backend_tokenizer") else id(loaded)
        )
        if key not in self._texts:
            self._texts[key] = data.load_text(name, tokenizer=loaded.tokenizer, max_tokens=self.settings.max_tokens)
            self._told(self._texts[key].source)
        return self._texts[key]

    def _images(self, entry: Entry) -> dict[str, Measure]:
        name = self.settings.images or self._carried(entry.loaded)
        loaded, most = entry.loaded, self.settings.max_images
        images = data.load_images(
            name,
            max_images=most,
            processor=loaded.processor,
            labels=loaded.labels,
            num_classes=loaded.num_classes,
            channels=image_channels(loaded.model),
        )
        self._told(images.source)
        return image_quality(entry.model, images.batches(self.settings.batch_size or 128), reference=entry.reference)

    def _carried(self, loaded: Loaded) -> str:
        """The digits, for the model that was trained on them and what was made of it."""
        original = loaded.source if loaded.folder is None else original_of(loaded.folder)
        if CARRIED in (loaded.source, original):
            return "demo"
        raise FewbitsError(
            f"{loaded.name}: no images to measure quality on: --images FILE.npz, a folder of classes or cifar100;"
            " or --measure size and others without quality"
        )

    def _told(self, source: str) -> None:
        if source not in self.sources:
            self.sources.append(source)

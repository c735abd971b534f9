"""A model by name, with data to choose its plan by and other data to verify it on."""

from dataclasses import dataclass

import torch

from fewbits import data, models
from fewbits.apply import plan_of
from fewbits.errors import FewbitsError
from fewbits.measure.running import check_ids, config_value, image_channels
from fewbits.models import Loaded
from fewbits.search.settings import DataSettings
from fewbits.search.tunedata import SHORT, WINDOW, TuneData, image_data, text_data

CARRIED = "demo-vision"  # the classifier whose images come along too


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model and its data; `sources` say what was read, for the reader."""

    loaded: Loaded
    data: TuneData
    sources: tuple[str, ...]


def subject(
    name: str,
    settings: DataSettings,
    *,
    classes: int | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Subject:
    """Load all of it. Raises FewbitsError for a model that is quantized already, or whose kind of data is not to be had."""
    loaded = models.load(name, classes=classes, device=device, trust_remote_code=trust_remote_code)
    if plan_of(loaded.model) is not None:
        raise FewbitsError(f"{name}: is quantized already: start from the original")
    if loaded.task == "causal-lm":
        return _text(loaded, settings)
    if loaded.task == "image-classification":
        return _images(loaded, settings)
    raise FewbitsError(
        f"{name}: is neither a language model nor a classifier: tune it in Python, with fewbits.search.loss_data"
    )


def _text(loaded: Loaded, settings: DataSettings) -> Subject:
    if settings.images is not None:
        raise FewbitsError(f"{loaded.name}: reads text, not images: give --text")
    most = 30 * max(settings.tokens, settings.max_tokens)  # windows are spread over it; a long text is not read to its end
    read = data.load_text(settings.text or "demo", tokenizer=loaded.tokenizer, max_tokens=most)
    other = None
    sources = [read.source]
    if settings.verify is not None:
        held = data.load_text(settings.verify, tokenizer=loaded.tokenizer, max_tokens=settings.max_tokens)
        other = held.ids
        sources.append(held.source)
    check_ids(loaded.model, [read.ids] if other is None else [read.ids, other])
    room = config_value(loaded.model, "max_position_embeddings") or WINDOW
    made = text_data(
        read.ids,
        bos=read.bos,
        verify=other,
        tokens=settings.tokens,
        samples=settings.samples,
        verify_tokens=settings.max_tokens,
        protocol=settings.protocol,
        window=min(WINDOW, room),
        short=min(SHORT, room),
        seed=settings.seed,
    )
    return Subject(loaded=loaded, data=made, sources=_told(sources, "the last third of the text"))


def _images(loaded: Loaded, settings: DataSettings) -> Subject:
    if settings.text is not None:
        raise FewbitsError(f"{loaded.name}: reads images, not text: give --images")
    name = settings.images or ("demo" if loaded.source == CARRIED else None)
    if name is None:
        raise FewbitsError(f"{loaded.name}: no images to tune by: --images FILE.npz, a folder of classes, or cifar100")
    sources = [name]
    pixels, labels = _read(loaded, name, settings.choose + settings.max_images, settings.seed)
    other = None
    if settings.verify is not None:
        other = _read(loaded, settings.verify, settings.max_images, settings.seed)
        sources.append(settings.verify)
    made = image_data(pixels, labels, verify=other, choose=settings.choose, samples=settings.samples, seed=settings.seed)
    return Subject(loaded=loaded, data=made, sources=_told(sources, "images that it was not chosen by"))


def _read(loaded: Loaded, name: str, most: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images drawn at random, for folders and files have them by class."""
    found = data.load_images(
        name,
        processor=loaded.processor,
        labels=loaded.labels,
        num_classes=loaded.num_classes,
        channels=image_channels(loaded.model),
    )
    drawn = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))[:most]
    pixels = torch.cat([found.pixels(int(i), int(i) + 1) for i in drawn])
    return pixels, found.labels[drawn]


def _told(sources: list[str], part: str) -> tuple[str, ...]:
    held = sources[1] if len(sources) > 1 else part
    return (f"chosen by {sources[0]}", f"verified on {held}")

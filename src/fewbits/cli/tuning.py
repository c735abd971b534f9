"""Options that `sensitivity` and `tune` share."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewbits.cli.options import set_threads

if TYPE_CHECKING:
    from fewbits.search.seek import Search
    from fewbits.search.settings import DataSettings, Settings
    from fewbits.search.store import Store
    from fewbits.search.subject import Subject

_DATA, _SEARCH = "Data", "Search"
SIX = ("mse:uint2g64/q8", "mse:uint3g64/q8", "mse:uint4g64/q8", "hqq:uint5g64/q8", "hqq:uint6g64/q8", "hqq:uint8g64/q8")

candidate_option = Annotated[
    list[str] | None,
    typer.Option(
        "--candidate",
        metavar="SCHEME",
        rich_help_panel=_SEARCH,
        help="To choose among; repeatable. By default 2 to 8 bits in groups of 16 to 64.",
    ),
]
include_option = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        rich_help_panel=_SEARCH,
        help="Search layers too that are kept by default, such as lm_head; repeatable.",
    ),
]
together_option = Annotated[
    list[str] | None,
    typer.Option(
        "--together",
        metavar="GLOB",
        rich_help_panel=_SEARCH,
        help="Layers of one block that take one scheme, such as '*.self_attn.\\[qkv]_proj'; repeatable.",
    ),
]
samples_option = Annotated[
    int, typer.Option(min=1, metavar="N", rich_help_panel=_SEARCH, help="Backward passes for the cheap sensitivities.")
]
text_option = Annotated[
    str | None, typer.Option("--text", metavar="FILE", rich_help_panel=_DATA, help="Plain text, or wikitext2 (hub), or demo.")
]
images_option = Annotated[
    str | None,
    typer.Option(
        "--images", metavar="FILE.npz", rich_help_panel=_DATA, help="Or a folder of classes, cifar100 (hub), or demo."
    ),
]
verify_option = Annotated[
    str | None,
    typer.Option(
        "--verify",
        metavar="FILE",
        rich_help_panel=_DATA,
        help="Other text or images that limits are held on; by default a part of the data, which nothing is chosen by.",
    ),
]
protocol_option = Annotated[
    str, typer.Option("--protocol", metavar="NAME", rich_help_panel=_DATA, help="windows:N, plain:N or stride:WINDOW:STEP.")
]
tokens_option = Annotated[
    int, typer.Option("--tokens", min=128, metavar="N", rich_help_panel=_DATA, help="Tokens that plans are chosen by.")
]
max_tokens_option = Annotated[
    int, typer.Option("--max-tokens", min=2, metavar="N", rich_help_panel=_DATA, help="Tokens that they are verified on.")
]
choose_option = Annotated[
    int, typer.Option("--choose", min=32, metavar="N", rich_help_panel=_DATA, help="Images that plans are chosen by.")
]
max_images_option = Annotated[
    int, typer.Option("--max-images", min=32, metavar="N", rich_help_panel=_DATA, help="Images that they are verified on.")
]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is searched, as it was typed."""

    model: str
    data: "DataSettings"
    settings: "Settings"
    candidates: tuple[str, ...]
    rules: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    classes: int | None = None
    device: str = "cpu"
    threads: int | None = None
    trust_remote_code: bool = False

    def store(self) -> "Store | None":
        """Where what is known in the end is kept; None for what may change out of sight: hub ids, and data that are no files."""
        from fewbits.models.names import resolve
        from fewbits.search.asked import store_of

        folder, names = resolve(self.model).folder, (self.data.text, self.data.images, self.data.verify)
        files = [Path(name) for name in names if name is not None and name != "demo"]
        if folder is None or self.device != "cpu" or not all(file.exists() for file in files):
            return None
        return store_of([folder, *files], asdict(self))


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A model with its data, and what can be chosen for it."""

    subject: "Subject"
    search: "Search"


def searched(asked: Question) -> Searched:
    """Load the model and lay out the search. What can be refused without the model is refused before it is loaded."""
    from fewbits.plan import Rule
    from fewbits.scheme import Scheme

    set_threads(asked.threads)
    fixed = [Rule(match=pattern, scheme=None) for pattern in asked.skip] + [Rule.parse(rule) for rule in asked.rules]
    for scheme in asked.candidates:
        Scheme.parse(scheme)
    from fewbits.search.candidates import DEFAULT, space_of
    from fewbits.search.seek import Search
    from fewbits.search.subject import subject

    found = subject(
        asked.model, asked.data, classes=asked.classes, device=asked.device, trust_remote_code=asked.trust_remote_code
    )
    model = found.loaded.model
    space = space_of(model, asked.candidates or DEFAULT, rules=fixed, include=asked.include, together=asked.together)
    return Searched(subject=found, search=Search(model, found.data, space, settings=asked.settings))

"""Options that `sensitivity` and `tune` share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fewbits.search.candidates import Space
    from fewbits.search.subject import DataSettings, Subject

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
        help="Layers of one block that take one scheme, such as '*.self_attn.[qkv]_proj'; repeatable.",
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
class Searched:
    """A model with its data, and what can be chosen for it."""

    subject: "Subject"
    space: "Space"


def searched(
    model: str,
    data: "DataSettings",
    *,
    candidates: list[str] | None,
    rules: list[str] | None,
    skip: list[str] | None,
    include: list[str] | None,
    together: list[str] | None,
    classes: int | None,
    device: str,
    trust_remote_code: bool,
) -> Searched:
    """Load the model and lay out the search. What can be refused without the model is refused before it is loaded."""
    from fewbits.plan import Rule
    from fewbits.scheme import Scheme
    from fewbits.search.candidates import DEFAULT, space_of
    from fewbits.search.subject import subject

    fixed: list[Rule] = [Rule(match=pattern, scheme=None) for pattern in skip or ()]
    fixed += [Rule.parse(rule) for rule in rules or ()]
    wanted = tuple(candidates or DEFAULT)
    for scheme in wanted:
        Scheme.parse(scheme)
    found = subject(model, data, classes=classes, device=device, trust_remote_code=trust_remote_code)
    space = space_of(found.loaded.model, wanted, rules=fixed, include=tuple(include or ()), together=tuple(together or ()))
    return Searched(subject=found, space=space)

"""`fewbits tune`: limits in, the plan out, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewbits.cli import tuning
from fewbits.cli.options import (
    classes_option,
    device_option,
    json_option,
    rules_option,
    seed_option,
    skip_option,
    threads_option,
    trust_option,
)

if TYPE_CHECKING:
    from fewbits.search.goal import Goal
    from fewbits.storage.folder import Output

_GOAL, _OUTPUT = "What is wanted", "Output"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder, timm/NAME, demo or demo-vision.")],
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="LIMIT",
            rich_help_panel=_GOAL,
            help="size<=16MiB, bits<=4.25, memory<=6GiB, kl<=0.05, ppl<=+2%, accuracy>=-0.5pt, top1>=95%, decode_speed>=100,"
            " latency<=20ms; repeatable.",
        ),
    ] = None,
    minimize: Annotated[
        str | None, typer.Option(metavar="MEASURE", rich_help_panel=_GOAL, help="Make this as small as the limits allow.")
    ] = None,
    maximize: Annotated[str | None, typer.Option(metavar="MEASURE", rich_help_panel=_GOAL, help="Or this as large.")] = None,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=_GOAL, help="Sequences or images at a time: memory, speeds.")
    ] = 1,
    context: Annotated[
        int, typer.Option(min=0, metavar="N", rich_help_panel=_GOAL, help="Tokens of each in the KV cache, for memory.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", rich_help_panel=_OUTPUT, help="Save the model and the report here."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel=_OUTPUT, help="Replace the folder if it holds a saved model.")
    ] = False,
    predict: Annotated[
        bool,
        typer.Option("--predict", rich_help_panel=_OUTPUT, help="Answer from what is known and predicted; measure nothing."),
    ] = False,
    candidate: tuning.candidate_option = None,
    rule: rules_option = None,
    skip: skip_option = None,
    include: tuning.include_option = None,
    together: tuning.together_option = None,
    samples: tuning.samples_option = 64,
    measured: Annotated[
        bool,
        typer.Option("--measured", rich_help_panel="Search", help="Search by measured sensitivities: slower, rarely better."),
    ] = False,
    text: tuning.text_option = None,
    images: tuning.images_option = None,
    verify: tuning.verify_option = None,
    protocol: tuning.protocol_option = "windows:512",
    tokens: tuning.tokens_option = 4096,
    max_tokens: tuning.max_tokens_option = 10_000,
    choose: tuning.choose_option = 400,
    max_images: tuning.max_images_option = 1_600,
    classes: classes_option = None,
    device: device_option = "cpu",
    threads: threads_option = None,
    seed: seed_option = 0,
    trust_remote_code: trust_option = False,
    json: json_option = False,
) -> None:
    """Find the plan that keeps the limits and is best by one measure; save the model, its plan and a report.

    What is measured is kept: another limit on the same model and data takes seconds.

    \b
    fewbits tune demo --limit 'size<=6.5MiB' -o small
    fewbits tune demo --limit 'ppl<=+2%' --minimize size -o near
    fewbits tune demo-vision --limit 'accuracy>=-1pt' --minimize size -o digits
    fewbits tune demo --limit 'decode_speed>=+20%' --limit 'memory<=12MiB' --context 512
    """
    from fewbits.errors import FewbitsError
    from fewbits.search.goal import Goal
    from fewbits.search.limits import parse_limit
    from fewbits.search.settings import DataSettings, Settings
    from fewbits.storage.folder import check_not_original, reserved

    goal = Goal.of([parse_limit(text) for text in limit or ()], minimize, maximize)
    if predict and output is not None:
        raise FewbitsError("--predict saves nothing: leave out -o, or --predict")
    data = DataSettings(
        text=text,
        images=images,
        verify=verify,
        tokens=tokens,
        choose=choose,
        max_tokens=max_tokens,
        max_images=max_images,
        protocol=protocol,
        samples=samples,
        seed=seed,
    )
    asked = tuning.Question(
        model=model,
        data=data,
        settings=Settings(samples=samples, measure=measured, seed=seed, batch=batch, context=context),
        candidates=tuple(candidate or ()),
        rules=tuple(rule or ()),
        skip=tuple(skip or ()),
        include=tuple(include or ()),
        together=tuple(together or ()),
        classes=classes,
        device=device,
        threads=threads,
        trust_remote_code=trust_remote_code,
    )
    if predict:
        _predict(asked, goal, json=json)
        return
    if output is None:
        _search(asked, goal, None, json=json)
        return
    check_not_original(output, model)
    with reserved(output, force=force) as place:
        _search(asked, goal, place, json=json)


def _search(asked: tuning.Question, goal: "Goal", place: "Output | None", *, json: bool) -> None:
    """Find a plan, print it, and save the model if a folder was reserved for it."""
    from fewbits.search.asked import keep

    found = tuning.searched(asked)
    search = found.search
    from fewbits.cli import show_search

    tuned = search.run(goal)
    if (store := asked.store()) is not None:
        keep(store, search.known(), tuned.evidence)
    show_search.tuned(asked.model, tuned, found.subject.sources)
    row = None
    if place is not None:
        from fewbits.cli.save_tuned import save_tuned

        row = save_tuned(found.subject, search, tuned, place)
        show_search.saved(place.folder)
    if json:
        show_search.tuned_document(asked.model, tuned, row)


def _predict(asked: tuning.Question, goal: "Goal", *, json: bool) -> None:
    """Answer from what was known when this was last asked, without torch; else once from the model."""
    from fewbits.cli.show_predicted import predicted
    from fewbits.search.asked import keep, recall

    store = asked.store()
    known = None if store is None else recall(store)
    if known is None:
        known = tuning.searched(asked).search.known()
        if store is not None:
            keep(store, known, {})
    predicted(asked.model, known, goal, json=json)

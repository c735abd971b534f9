"""A study's results as a page."""

from fewbits.report.page import Page, Part, Section
from fewbits.report.quantities import SPEED, quantity
from fewbits.report.study.against_size import against_size
from fewbits.report.study.by_bits import by_bits
from fewbits.report.study.clean import drawable, printable_results
from fewbits.report.study.costs import memory_by_type, time_of
from fewbits.report.study.headline import tiles
from fewbits.report.study.how import how_measured
from fewbits.report.study.layers import error_by_layer, loss_alone, weights_by_layer
from fewbits.report.study.table import results_table
from fewbits.report.study.view import View, views
from fewbits.study.results import StudyResults

CHARTED = 2  # measures of quality that are drawn against size: the main one and the finest


def compose(results: StudyResults) -> Page:
    """The page. Sections without anything in them are left out. Raises FewbitsError without matplotlib."""
    results = printable_results(results)
    found, drawn = views(results), views(drawable(results))
    alone = len(found) == 1
    sections = [Section(title="Results", parts=[*_unfinished(results), *(results_table(view, results) for view in found)])]
    for title, draw in (("Quality against size and bits", _quality), ("Layers", _layers), ("Memory and time", _costs)):
        parts = [part for view in drawn for part in draw(view, alone)]
        if parts:
            sections.append(Section(title=title, parts=parts))
    return Page(
        title=results.title,
        lede=results.about,
        tiles=tiles(results, drawn),
        sections=[*sections, how_measured(results)],
        foot=f"Made by fewbits {results.fewbits}. Every figure was measured by the commands above unless it says reported.",
    )


def _unfinished(results: StudyResults) -> list[Part]:
    """What the reader must know before the figures: that some are not there yet."""
    if not results.missing:
        return []
    items = "item is" if results.missing == 1 else "items are"
    return [f"{results.missing} {items} still to run: start the same command again to go on with them."]


def _quality(view: View, alone: bool) -> list[Part]:
    drawn = view.qualities[:1] + [what for what in view.qualities[1:] if what.name == "kl"][: CHARTED - 1]
    figures = [against_size(view, what, alone=alone) for what in drawn]
    figures += [by_bits(view, what, alone=alone) for what in view.qualities[:1]]
    return [figure for figure in figures if figure is not None]


def _layers(view: View, alone: bool) -> list[Part]:
    model = "" if alone else f": {view.name}"
    figures = [loss_alone(one, model=model) for one in view.sensitivities]
    figures.append(error_by_layer(view, model=model))
    figures += [figure for one in view.weights for figure in weights_by_layer(one, model=model)]
    failed = [
        f"{what} of {one.model} could not be taken: {one.error}"
        for what, ones in (("Losses of layers", view.sensitivities), ("Weights", view.weights))
        for one in ones
        if one.error
    ]
    return [*failed, *(figure for figure in figures if figure is not None)]


def _costs(view: View, alone: bool) -> list[Part]:
    model = "" if alone else f": {view.name}"
    figures = [memory_by_type(view, model=model), *(time_of(view, quantity(name), model=model) for name in SPEED)]
    return [figure for figure in figures if figure is not None]

"""A study's file, checked and made into a Spec. Everything wrong is named with its line, its key and what is allowed."""

import unicodedata
from dataclasses import fields, replace
from pathlib import Path

from fewbits.data.names import did_you_mean, near
from fewbits.document import Value
from fewbits.errors import FewbitsError
from fewbits.evaluate.settings import IMAGE_MEASURES, TEXT_MEASURES, Settings
from fewbits.measure.protocols import parse_protocol
from fewbits.plan import misfit_named
from fewbits.scheme import Scheme
from fewbits.study import document
from fewbits.study.paths import absolute
from fewbits.study.quantity import UNITS
from fewbits.study.results import Score
from fewbits.study.rows import MOST_NAME, read_row
from fewbits.study.score import Expression
from fewbits.study.spec import RowSpec, Spec

_ABOUT = ("title", "about", "reported")
_MODELS = ("model", "models", "classes", "dtype", "arithmetic", "seed")
_DATA = ("text", "images", "max_tokens", "max_images", "protocol")
_MEASURES = ("measures", "score", "scores", "repeats", "prompt", "new_tokens", "batch_size")
_ROWS = ("rows", "on_misfit", "alone", "weights")
KEYS = (*_ABOUT, *_MODELS, *_DATA, *_MEASURES, *_ROWS)
MEASURES = tuple(dict.fromkeys((*TEXT_MEASURES, *IMAGE_MEASURES, "quantize_time")))
_TEXTS = ("text", "images", "dtype", "arithmetic")
MOST_ROWS = 2_000
_COUNTS = ("max_tokens", "max_images", "classes", "repeats", "prompt", "new_tokens", "batch_size")


def read(path: Path) -> Spec:
    """Read a study. Raises FewbitsError with file, line and key for what is wrong in it."""
    return parse(*document.read(path))


def parse(top: Value, text: str) -> Spec:
    """The study that a document says."""
    given = top.mapping(KEYS, "title, model, rows and others")
    for key in ("title", "rows"):
        if key not in given:
            top.fail(f"has no '{key}'; allowed here are {', '.join(KEYS)}")
    rows = _rows(given)
    settings = _settings(given, rows)
    return Spec(
        title=_text(given, "title"),
        about=_text(given, "about"),
        reported=_text(given, "reported"),
        file=top.file,
        text=text,
        models=_models(top, given),
        rows=rows,
        settings=settings,
        scores=_scores(given, settings),
        alone=_scheme(given, "alone"),
        weights=_scheme(given, "weights"),
        lines=dict(top.keys),
    )


def _text(given: dict[str, Value], key: str) -> str:
    """A text on one line; empty without the key."""
    return " ".join(given[key].text().split()) if key in given else ""


def override(spec: Spec, *, models: tuple[str, ...] = (), data: str | None = None, **settings: object) -> Spec:
    """The study on other models, other data, other amounts of it; None changes nothing.

    `data` takes the place of `text` or of `images`, whichever the study reads. Raises FewbitsError where it reads neither.
    """
    if twice := [name for name in models if models.count(name) > 1]:
        raise FewbitsError(f"--model {twice[0]}: is given twice")
    changes = {name: value for name, value in settings.items() if value is not None}
    if data is not None:
        reads = [key for key in ("text", "images") if getattr(spec.settings, key) is not None or key in spec.lines]
        if len(reads) != 1:
            raise FewbitsError(f"--data: {spec.file} reads {'both text and images' if reads else 'neither text nor images'}")
        changes[reads[0]] = data
    known = {f.name for f in fields(Settings)}
    if wrong := set(changes) - known:
        raise TypeError(f"no such setting: {wrong}")
    return replace(spec, models=models or spec.models, settings=replace(spec.settings, **changes))


def _models(top: Value, given: dict[str, Value]) -> tuple[str, ...]:
    if ("model" in given) == ("models" in given):
        top.fail("give either 'model' or 'models'")
    key = "model" if "model" in given else "models"
    found: dict[str, str] = {}
    for each in given[key].items():
        name = each.text()
        if (known := found.setdefault(absolute(name) or name, name)) != name:
            each.fail(f"'{name}' and '{known}' are the same model: name it once")
    names = [each.text() for each in given[key].items()]
    if len(set(names)) < len(names):
        given[key].fail("is to name one model or more, each once")
    return tuple(names)


def _rows(given: dict[str, Value]) -> tuple[RowSpec, ...]:
    if not isinstance(given["rows"].data, list) or not given["rows"].data:
        given["rows"].fail(f"is to be a list of schemes, plans and peers, not {given['rows'].shown}")
    if len(given["rows"].data) > MOST_ROWS:
        given["rows"].fail(f"has {len(given['rows'].data):,} entries, more than {MOST_ROWS:,}")
    misfit = given["on_misfit"].checked(lambda: misfit_named(given["on_misfit"].text())) if "on_misfit" in given else "error"
    found: list[RowSpec] = []
    for each in given["rows"].items():
        found += read_row(each, misfit)
        if len(found) > MOST_ROWS:
            each.fail(f"makes more than {MOST_ROWS:,} rows in all: split the study")
    _check_labels(found)
    return tuple(found)


def _check_labels(rows: list[RowSpec]) -> None:
    """Fail for two rows with one name, or with names that differ only in case, width or spaces."""
    labels: dict[str, RowSpec] = {}
    for row in rows:
        key = " ".join(unicodedata.normalize("NFKC", row.label).casefold().split())
        if key in labels:
            first = labels[key]
            alike = "a row" if first.label == row.label else f"the name '{row.label}' looks like another row's:"
            raise FewbitsError(f"{row.where}: {alike} '{first.label}' is in {first.where} already: give one a 'name'")
        labels[key] = row


def _settings(given: dict[str, Value], rows: tuple[RowSpec, ...]) -> Settings:
    values: dict[str, object] = {key: given[key].text() for key in _TEXTS if key in given and given[key].data is not None}
    values |= {key: given[key].whole() for key in _COUNTS if key in given}
    if "seed" in given:
        values["seed"] = given["seed"].whole(least=0)
    if "protocol" in given:
        values["protocol"] = str(given["protocol"].checked(lambda: parse_protocol(given["protocol"].text())))
    if "dtype" in given:
        from fewbits.models.options import parse_dtype  # imports torch

        given["dtype"].checked(lambda: parse_dtype(given["dtype"].text()))
    if "measures" in given:
        values["measures"] = _measures(given["measures"])
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except FewbitsError as error:
        key = next((k for k in ("measures", "arithmetic") if k in given), "rows")
        given[key].fail(error)


def _measures(value: Value) -> tuple[str, ...]:
    names = [each.one_of(MEASURES) for each in value.items()]
    if twice := [name for name in names if names.count(name) > 1]:
        value.fail(f"names {twice[0]} twice")
    found = tuple(name for name in names if name != "quantize_time")  # it is always measured
    return found or value.fail("names quantize_time alone, which is always measured: name another measure too")


def _scores(given: dict[str, Value], settings: Settings) -> tuple[Score, ...]:
    """`score: EXPRESSION`, or `scores:` with a name for each."""
    found = []
    if "score" in given:
        found.append(("score", given["score"]))
    if "scores" in given:
        scores = given["scores"].mapping(what="a name and an expression each")
        if not scores or ("score" in scores and "score" in given):
            given["scores"].fail("is empty" if not scores else "has a 'score', and so has the file: give it once")
        found += list(scores.items())
    for name, value in found:
        _check_score(name, value, settings)
    return tuple(Score(name=name, expression=value.text()) for name, value in found)


def _check_score(name: str, value: Value, settings: Settings) -> None:
    """Fail for a score with a name that is taken, or that needs a measure which the study does not take."""
    expression = value.checked(lambda: Expression(value.text()))
    if not name.isprintable() or len(name) > MOST_NAME or name in (*UNITS, *MEASURES):
        value.fail("is no name for a score: it is a measure's, too long, or has control characters")
    taken = {*settings.measures, "quantize_time", "coverage", *(("bits",) if "size" in settings.measures else ())}
    needed = [q.measure for q in expression.quantities.values() if settings.measures and q.measure not in taken]
    if needed:
        value.fail(f"needs {needed[0]}, which is not among the 'measures': add it there")


def _scheme(given: dict[str, Value], key: str) -> str | None:
    if key not in given:
        return None
    return str(given[key].checked(lambda: Scheme.parse(given[key].text())))


def find(name: str) -> Path:
    """A study's file: a path, or the name of one that ships (`demo`). Raises FewbitsError that lists those."""
    path = Path(name)
    beside = Path(__file__).with_name("shipped")  # in a wheel; a checkout has them at its top
    shipped = beside if beside.is_dir() else Path(__file__).parents[3] / "studies"
    if absolute(name) != name or path.suffix or path.is_absolute():
        return path
    there = sorted(p.stem for p in shipped.glob("*.yaml")) if shipped.is_dir() else []
    if name in there:
        return shipped / f"{name}.yaml"
    raise FewbitsError(
        f"'{name}': no such study (a file, or {', '.join(there) or 'none ships here'}){did_you_mean(near(name, there))}"
    )

"""DIR/results.json: a study's results, written whole or not at all."""

from pathlib import Path

from fewbits import strictjson
from fewbits.errors import FewbitsError
from fewbits.study.plain import from_dict, to_dict
from fewbits.study.results import StudyResults
from fewbits.whole import write_whole

FILE = "results.json"
VERSION = 1  # of the file


def save(results: StudyResults, folder: Path) -> Path:
    """Write DIR/results.json, whole or not at all. Raises FewbitsError if it cannot be written."""
    path = folder / FILE
    write_whole(path, strictjson.dumps({"version": VERSION, **to_dict(results)}, indent=1))
    return path


def load(folder: Path) -> StudyResults:
    """Read DIR/results.json. Raises FewbitsError for a folder without one, or one that is damaged or of another version."""
    path = folder / FILE
    try:
        data = strictjson.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FewbitsError(f"{folder}: has no {FILE}: it is made by `fewbits study FILE.yaml -o {folder}`") from None
    except (OSError, ValueError) as error:
        raise FewbitsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or data.pop("version", None) != VERSION:
        raise FewbitsError(f"{path}: is not of version {VERSION}: run the study again, what is done is kept")
    try:
        return from_dict(data)
    except (TypeError, KeyError, AttributeError, ValueError, IndexError) as error:
        raise FewbitsError(f"{path}: is damaged ({error}): run the study again, what is done is kept") from None

"""The report of a study: `write(results, folder)` makes report.html, report.md and results.csv of what is in results.json."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewbits.study.results import StudyResults

HTML, MARKDOWN, CSV = "report.html", "report.md", "results.csv"


def write(results: "StudyResults", folder: Path) -> tuple[Path, ...]:
    """Write the three files, each whole or not at all, and return their paths.

    The tables come first: they need no library of charts. Raises FewbitsError where a file cannot be written, or matplotlib
    is not installed.
    """
    from fewbits.report.files import write_text
    from fewbits.report.html import write_page
    from fewbits.report.markdown import to_markdown
    from fewbits.report.study.compose import compose
    from fewbits.report.study.csvfile import to_csv

    write_text(to_csv(results), folder / CSV)
    page = compose(results)
    write_text(to_markdown(page), folder / MARKDOWN)
    write_page(page, folder / HTML)
    return folder / HTML, folder / MARKDOWN, folder / CSV

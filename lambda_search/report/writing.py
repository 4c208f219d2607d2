"""Reports as files: which studies are meant, and what is written where."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from plotly.offline import get_plotlyjs

from lambda_search.errors import UsageError
from lambda_search.files import saving
from lambda_search.files import written_whole
from lambda_search.records import Diagnosis
from lambda_search.report.findings import Findings
from lambda_search.report.findings import read_findings
from lambda_search.report.pages import PLOTLY_FILE
from lambda_search.report.pages import diagnosis_page
from lambda_search.report.pages import several_page
from lambda_search.report.pages import study_page
from lambda_search.store.store import Store

__all__ = ["matching", "write_diagnosis", "write_report"]


def write_report(
    store: Store, names: Sequence[str], output: Path | None = None, single: bool = False
) -> list[Path]:
    """Writes the page of a study, or of several one page and each one's own.

    Arguments:
        store: where the studies are.
        names: of studies, patterns, or what names of several step counts begin with.
        output: the file, or a folder that is there; STUDY.html in the working folder unless given.
        single: whether all is in one file, Plotly too; several studies' own pages are left out.

    Returns:
        The files, the one to open first.

    Raises:
        UsageError: if there is no such study, or `output` is in another's place.
        LambdaSearchError: if a file cannot be written.
    """
    several = [read_findings(store, name) for name in matching(store, names)]
    several.sort(key=lambda one: (one.steps or 0, one.name))
    title = several[0].name if len(several) == 1 else _common(several)
    path = output or Path(f"{title}.html")
    if path.is_dir():
        path /= f"{title}.html"
    if len(several) == 1:
        pages = {path: study_page(several[0], single)}
    else:
        own = {} if single else {one.name: path.with_name(f"{one.name}.html") for one in several}
        links = {name: file.name for name, file in own.items()}
        pages = {path: several_page(title, several, links, single)}
        if path in own.values():
            raise UsageError(
                f"{path} is the page of one of these studies.", "Choose another --output."
            )
        pages |= {own[one.name]: study_page(one) for one in several if one.name in own}
    for file, page in pages.items():
        _write(file, page)
    if not single:
        _write(path.with_name(PLOTLY_FILE), get_plotlyjs())
    return list(pages)


def write_diagnosis(found: Diagnosis, name: str, path: Path, single: bool = False) -> Path:
    """Writes the page of a diagnosis.

    Arguments:
        found: what there is to tell.
        name: of the model, as it was asked for.
        path: the file.
        single: whether Plotly is in it, or in a file beside it.

    Raises:
        LambdaSearchError: if it cannot be written.
    """
    _write(path, diagnosis_page(name, found, single))
    if not single:
        _write(path.with_name(PLOTLY_FILE), get_plotlyjs())
    return path


def matching(store: Store, names: Sequence[str]) -> list[str]:
    """The studies of a store that are meant, each once.

    A name is a study's own, a pattern with *, ? or [, or what precedes `-STEPS` in the names of
    the studies that one file makes.

    Raises:
        UsageError: if there is no such study.
    """
    known = sorted(study.name for study in store.studies())
    found: dict[str, None] = {}
    for name in names:
        if name in known:
            meant = [name]
        elif any(mark in name for mark in "*?["):
            meant = [one for one in known if fnmatchcase(one, name)]
        else:
            meant = [one for one in known if _is_of(one, name)]
        if not meant:
            store.study(name)  # says that there is none, and which there are
        found |= dict.fromkeys(meant)
    return list(found)


def _is_of(name: str, file: str) -> bool:
    return name.startswith(f"{file}-") and name.removeprefix(f"{file}-").isdecimal()


def _common(several: Sequence[Findings]) -> str:
    """What several studies are called together: how their names begin."""
    names = [one.name for one in several]
    start = names[0]
    while not all(name.startswith(start) for name in names):
        start = start[:-1]
    title = start.rstrip("-._0123456789") or start.rstrip("-._") or "studies"
    return f"{title}-studies" if title in names else title


def _write(path: Path, text: str) -> None:
    """Writes a file whole; one that is there already with that text is left."""
    content = text.encode("utf-8", "replace")
    with saving(path, "Choose another place with --output."):
        if path.exists() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return
        with written_whole(path) as stream:
            stream.write(content)

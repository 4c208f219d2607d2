"""Progress of a launch: a live table on a terminal, one line a trial otherwise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.records import Event
from lambda_search.records import Progress

__all__ = ["Display", "show_cost"]

_TOLD = ("began", "trial", "phase", "warning", "stopped")
"""Kinds of events that a terminal is told."""

_ENDS = ("failed", "done")
"""How a study ends: a launch tells it by the row or the error, at its own end."""

_ENDED_SHOWN = 10


class Display:
    """Shows the studies that are run; called with their progress.

    Arguments:
        ends: whether to tell how each study ends, when it does.
    """

    def __init__(self, ends: bool = False) -> None:
        self._told = (*_TOLD, *_ENDS) if ends else _TOLD
        self._live = Live(console=err, refresh_per_second=4) if err.is_terminal else None
        self.studies: Sequence[Progress] = ()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, studies: Sequence[Progress]) -> None:
        """Brings the picture up to date."""
        self.studies = studies
        if self._live is not None:
            self._live.update(_table(studies))

    def hear(self, event: Event) -> None:
        """Prints an event as a line, where no table is shown."""
        if self._live is None and event.kind in self._told:
            end = f"{event.kind}: " if event.kind in _ENDS else ""
            err.print(Text(f"{event.study}: {end}{event.text}"))


def show_cost(studies: Sequence[Progress], busy_seconds: float) -> None:
    """Says how many images were made and how the workers spent their time."""
    made = sum(study.made for study in studies)
    if not made:
        return
    reused = sum(study.images for study in studies) - made
    useful = sum(study.useful_seconds for study in studies)
    known = f", {reused:,} known from before" if reused else ""
    err.print(
        f"{made:,} images made{known}; {useful / busy_seconds:.1%} of {busy_seconds:.0f} worker "
        "seconds in network and extractor\n"
    )


def _table(studies: Sequence[Progress]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("study", "", "trials", "images", "images/s", "best so far", "time left"):
        table.add_column(heading, no_wrap=True)
    ended = [study for study in studies if study.phase in ("done", "failed", "stopped")]
    hidden = {study.study for study in ended[:-_ENDED_SHOWN]}
    for study in studies:
        if study.study in hidden:
            continue
        table.add_row(
            Text(study.study, "bold"),
            ProgressBar(total=1.0, completed=study.share_done, width=24),
            _trials(study) if study.phase == "search" else study.phase,
            f"{study.images:,}",
            f"{study.images_per_second:.0f}",
            _best(study),
            _time_left(study),
        )
    return table


def _trials(study: Progress) -> str:
    return f"{study.trials_done}/{study.trials_total}"


def _best(study: Progress) -> str:
    if study.best is None:
        return "–"
    return f"λ = {study.best}  gain {study.best_gain:+.3f} (n = {study.best_n:,})"


def _time_left(study: Progress) -> str:
    if study.phase in ("done", "failed", "stopped"):
        return study.phase
    if study.images_per_second <= 0 or study.share_done <= 0:
        return "…"
    seconds = (1 - study.share_done) * study.images_expected / study.images_per_second
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))

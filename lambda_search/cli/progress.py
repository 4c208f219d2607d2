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
"""Kinds of events that a terminal is told; how a study ends is told by its row or its error."""


class Display:
    """Shows all studies of a launch; called with their progress."""

    def __init__(self) -> None:
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
        if self._live is None and event.kind in _TOLD:
            err.print(Text(f"{event.study}: {event.text}"))


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
    for study in studies:
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

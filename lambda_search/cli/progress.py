"""Progress of a launch: a live picture on a terminal, one line a trial otherwise."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.running import RunningStudies
from lambda_search.records import Event
from lambda_search.records import Progress

__all__ = ["Display", "show_cost"]

_TOLD = ("began", "note", "search", "trial", "confirm", "warning", "stopped")
"""Kinds of events that a terminal is told."""

_ENDS = ("failed", "done")
"""How a study ends: a launch tells it by the row or the error, at its own end."""

_ABOVE = ("warning",)
"""What is said above the picture, too: it would not be seen there."""


class Display:
    """Shows the studies that are run; called with their progress.

    Arguments:
        ends: whether to tell how each study ends, when it does.
        notes: what there is to say of the workers' hosts; each is said once.
    """

    def __init__(
        self, ends: bool = False, notes: Callable[[], Sequence[str]] = tuple[str]
    ) -> None:
        self._notes = notes
        self._said: set[str] = set()
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
        for note in self._notes():
            if note not in self._said:
                self._said.add(note)
                err.print(Text(note, "yellow"))
        if self._live is not None:
            self._live.update(RunningStudies(studies))

    def hear(self, event: Event) -> None:
        """Prints an event as a line: all that count where no picture is shown, else warnings."""
        if event.kind in (self._told if self._live is None else _ABOVE):
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

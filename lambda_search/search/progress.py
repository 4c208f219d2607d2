"""What a running study tells those who watch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Literal

from lambda_search.schedule import LambdaSchedule
from lambda_search.store.tables import Trial
from lambda_search.work.meter import Meter

__all__ = ["Progress", "describe", "rank"]


@dataclass
class Progress:
    """One study's state, written by its driver and read by whoever shows it.

    Arguments:
        name: the study's.
        trials_total: the budget.
        images_expected: search and confirmation together, about.
        phase: what it does.
        trials_done: closed trials.
        best: trial with the largest gain so far, λ = 1 apart.
        meter: images and seconds.
        news: one line per closed trial or event, for whoever prints lines.
    """

    name: str
    trials_total: int
    images_expected: int
    phase: Literal["search", "confirm", "done", "failed"] = "search"
    trials_done: int = 0
    best: Trial | None = None
    meter: Meter = field(default_factory=Meter)
    news: deque[str] = field(default_factory=deque)
    began: float = field(default_factory=time.monotonic)

    def restore(self, finished: Sequence[Trial]) -> None:
        """Takes over what an earlier driver did."""
        if finished:
            self.news.append(f"{self.name}: going on after {len(finished)} finished trials")
        self._count(finished)

    def closed(self, finished: Sequence[Trial]) -> None:
        """Trials that go no further."""
        self._count(finished)
        for trial in finished:
            self.news.append(f"{self.name}: {describe(trial)}")

    def images_per_second(self) -> float:
        """Computed images over wall time."""
        return self.meter.images / max(time.monotonic() - self.began, 1e-9)

    def share_done(self) -> float:
        """About how much of the work is behind, 0 to 1."""
        if self.phase == "done":
            return 1.0
        return min(0.99, (self.meter.images + self.meter.reused) / self.images_expected)

    def _count(self, finished: Sequence[Trial]) -> None:
        self.trials_done += len(finished)
        for trial in finished:
            if trial.number != 0 and (self.best is None or rank(trial) > rank(self.best)):
                self.best = trial


def rank(trial: Trial) -> tuple[int, float]:
    """Orders closed trials: those on more images first, then by gain."""
    return trial.n or 0, trial.gain or 0.0


def describe(trial: Trial) -> str:
    """One line about a closed trial."""
    if trial.number == 0:
        return f"trial 0  λ = 1  FID {trial.fid:.3f}  n = {trial.n:,}"
    schedule = LambdaSchedule(trial.b, trial.k)
    return (
        f"trial {trial.number}  λ = {schedule}  FID {trial.fid:.3f}  gain {trial.gain:+.3f}  "
        f"n = {trial.n:,}{'  stopped early' if trial.state == 'stopped' else ''}"
    )

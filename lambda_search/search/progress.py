"""How far a study is, kept up to date by its driver and shown by whoever asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from typing import Literal
from typing import TypeAlias

from lambda_search.records import Progress
from lambda_search.records import Trial
from lambda_search.work.meter import Meter

__all__ = ["Stage", "Tracker", "describe"]

Stage: TypeAlias = Literal["search", "confirm", "done", "stopped", "failed"]


class Tracker:
    """One study's state, written by its driver and read by other threads.

    Arguments:
        study: its name.
    """

    def __init__(self, study: str) -> None:
        self.stage: Stage = "search"
        self.meter = Meter()
        self._study = study
        self._trials_total = 0
        self._images_expected = 0
        self._began = time.monotonic()
        self._done = 0
        self._best: Trial | None = None

    def expect(self, trials: int, images: int) -> None:
        """The budget, and about how many images search and confirmation make together."""
        self._trials_total, self._images_expected = trials, images

    def closed(self, ended: Sequence[Trial]) -> None:
        """Trials that go no further, or went no further under an earlier driver."""
        self._done += len(ended)
        scored = [trial for trial in ended if trial.number and trial.gain is not None]
        if self._best is not None:
            scored.append(self._best)
        self._best = max(scored, key=_rank, default=None)

    def snapshot(self) -> Progress:
        """How far it is now."""
        meter, best = self.meter, self._best
        seconds = max(time.monotonic() - self._began, 1e-9)
        return Progress(
            study=self._study,
            phase=self.stage,
            trials_done=self._done,
            trials_total=self._trials_total,
            images=meter.images + meter.reused,
            images_expected=self._images_expected,
            made=meter.images,
            images_per_second=meter.images / seconds,
            useful_seconds=meter.network_seconds + meter.feature_seconds,
            best=None if best is None else best.schedule,
            best_gain=None if best is None else best.gain,
            best_n=None if best is None else best.n,
            at=datetime.now(UTC),
        )


def _rank(trial: Trial) -> tuple[int, float, int]:
    """Orders closed trials: those on more images first, then by gain, then the earlier one."""
    return trial.n or 0, trial.gain or 0.0, -trial.number


def describe(trial: Trial) -> str:
    """One line about a closed trial."""
    if trial.state == "diverged":
        return f"trial {trial.number}  λ = {trial.schedule}  diverged: {trial.reason}"
    if trial.number == 0:
        return f"trial 0  λ = 1  FID {trial.fid:.3f}  n = {trial.n:,}"
    return (
        f"trial {trial.number}  λ = {trial.schedule}  FID {trial.fid:.3f}  "
        f"gain {trial.gain:+.3f}  n = {trial.n:,}"
        f"{'  stopped early' if trial.state == 'stopped' else ''}"
    )

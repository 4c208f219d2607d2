"""How far a study is, kept up to date by its driver and shown by whoever asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime

from lambda_search.records import Progress
from lambda_search.records import Stage
from lambda_search.records import Trial
from lambda_search.records import leading
from lambda_search.work.meter import Meter

__all__ = ["Tracker", "describe"]

_LATELY_SECONDS = 60.0
"""Over how long the speed is measured: longer than most shards take."""

_APART_SECONDS = 1.0


class Tracker:
    """One study's state, written by its driver and read by other threads.

    Arguments:
        study: its name.
        before: how far its last driver came, if there was one.
    """

    def __init__(self, study: str, before: Progress | None = None) -> None:
        self.stage: Stage = "preparing"
        self.meter = Meter()
        self._study = study
        self._before = (0, 0.0) if before is None else (before.made_in_all, before.seconds_in_all)
        self._trials_total = 0
        self._images_expected = 0
        self._marks = deque([(time.monotonic(), 0)])
        self._ended: dict[int, Trial] = {}
        self._best: int | None = None

    def expect(self, trials: int, images: int) -> None:
        """The budget, and about how many images search and confirmation make together."""
        self._trials_total, self._images_expected = trials, images

    def confirm(self, images: int) -> None:
        """The search is over, and the confirmation has so many images."""
        self.stage = "confirm"
        self._images_expected = self.meter.images + self.meter.reused + images

    def closed(self, ended: Sequence[Trial]) -> None:
        """Trials that go no further, or went no further under an earlier driver.

        One that was measured once more takes the place of what it was.
        """
        self._ended |= {trial.number: trial for trial in ended}

    def leads(self, best: int | None) -> None:
        """Which trial leads by the last judgement of rounds, if there is one."""
        self._best = best

    def snapshot(self, workers: int = 0, places: Sequence[tuple[str, str, int]] = ()) -> Progress:
        """How far it is now, on that many workers; `places` as in `Progress`."""
        meter, best = self.meter, leading(self._ended.values(), self._best)
        seconds = meter.network_seconds + meter.feature_seconds
        return Progress(
            study=self._study,
            phase=self.stage,
            trials_done=len(self._ended),
            trials_total=self._trials_total,
            images=meter.images + meter.reused,
            images_expected=self._images_expected,
            made=meter.images,
            images_per_second=self._speed(),
            useful_seconds=seconds,
            best=None if best is None else best.schedule,
            best_gain=None if best is None else best.gain,
            best_n=None if best is None else best.n,
            at=datetime.now(UTC),
            workers=workers,
            places=tuple(places),
            made_in_all=self._before[0] + meter.images,
            seconds_in_all=self._before[1] + seconds,
        )

    def _speed(self) -> float:
        """Images a second lately: since the first mark of the last minute, or the one before."""
        now, made = time.monotonic(), self.meter.images
        while len(self._marks) > 1 and self._marks[1][0] <= now - _LATELY_SECONDS:
            self._marks.popleft()
        before, known = self._marks[0]
        if now - self._marks[-1][0] >= _APART_SECONDS:
            self._marks.append((now, made))
        return (made - known) / max(now - before, 1e-9)


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

"""A search as values: the study, its trials and evaluations, how far it is, what happened."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from typing import Any
from typing import Literal
from typing import TypeAlias

from lambda_search.records.progress import Progress
from lambda_search.records.provenance import Identity
from lambda_search.records.rows import Row
from lambda_search.records.warm_start import WarmStart
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting

__all__ = [
    "Attempt",
    "Driven",
    "Event",
    "EventKind",
    "Image",
    "Leading",
    "Study",
    "StudyState",
    "Trial",
    "TrialState",
    "leading",
]

StudyState: TypeAlias = Literal["queued", "running", "done", "failed", "stopped"]
TrialState: TypeAlias = Literal["proposed", "stopped", "complete", "diverged"]


@dataclass(frozen=True)
class Trial:
    """One candidate schedule of a study.

    Arguments:
        number: from 0 (λ = 1) on, in the order of asking.
        generation: trials of one generation were proposed together.
        schedule: λ(i) = b + k·i.
        mean, slope: the point (λ̄, k) that was proposed.
        state: `proposed`, or how it ended: `stopped` early, `complete` at the last rung or in a
            round, or `diverged`.
        n: images that its gain stands on, in all rounds; None while it is open or if it diverged.
        gain: FID(1) − FID(λ), bias-corrected, as its evaluations have it; their mean over rounds,
            weighted by images.
        fid: the plain FID on n images; over rounds as `gain`.
        reason: why it diverged.
        created, finished: UTC.
    """

    number: int
    generation: int
    schedule: LambdaSchedule
    mean: float
    slope: float
    state: TrialState = "proposed"
    n: int | None = None
    gain: float | None = None
    fid: float | None = None
    reason: str = ""
    created: datetime | None = None
    finished: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.state == "proposed"

    @property
    def is_unmeasured(self) -> bool:
        """Whether it has ended, and no image of the search was made for it.

        So the best of a posterior that was only confirmed, and what a search left open that goes
        on otherwise.
        """
        return self.state in ("complete", "stopped") and self.gain is None


@dataclass(frozen=True)
class Leading:
    """The best schedule so far, with its gain on n images."""

    schedule: LambdaSchedule
    gain: float
    n: int


def leading(trials: Iterable[Trial], best: int | None = None) -> Leading | None:
    """The best of the trials that have ended, on the most images that any was scored on.

    Where none is better than λ = 1, it is λ = 1, with a gain of 0. None before any was scored.

    Arguments:
        best: the number of the one that leads by the last judgement of a search by rounds, whose
            trials have as many images as each was given.
    """
    scored = [one for one in trials if one.n is not None and one.gain is not None]
    if best is not None:
        scored = [one for one in scored if one.number == best] or scored
    if not scored:
        return None
    most = max(one.n or 0 for one in scored)
    first = max((one for one in scored if one.n == most), key=lambda one: (one.gain, -one.number))
    return leading_of(first.schedule, first.gain or 0.0, most)


def leading_of(best: LambdaSchedule, gain: float, n: int) -> Leading:
    """What leads where `best` is the best trial on n images: λ = 1 where that gains nothing."""
    return Leading(best, gain, n) if gain > 0 else Leading(LambdaSchedule(), 0.0, n)


@dataclass(frozen=True)
class Image:
    """A picture of a few samples, for people.

    Arguments:
        caption: what it shows.
        content: a PNG file of at most 100 kB.
    """

    caption: str
    content: bytes


@dataclass(frozen=True)
class Attempt:
    """One driver's go at a study.

    Arguments:
        driver: who: process and host.
        began, ended: UTC; `ended` is None while it runs.
        outcome: `done`, `failed`, `stopped`, `unable` (something was missing there) or `lost` (its
            lease ran out); "" while it runs.
        reason: why it ended so.
    """

    driver: str
    began: datetime
    ended: datetime | None = None
    outcome: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """A search: its file, its state, and the attempts at it.

    Arguments:
        id: its number in this store.
        name: unique in a store.
        spec: its file (YAML).
        base: the folder that relative names in it start from, on the host that submitted it.
        state: `queued`, `running`, `done`, `failed` or `stopped`.
        message: why it is in this state.
        setting: what its rows hold for; None until a driver has resolved it.
        steps: the real length of its grid; None until then.
        identity: what its numbers depend on besides the setting; None until then.
        decisive: digest of all in its file that decided the numbers of its last row.
        attempts: oldest first.
        stop_wanted: whether somebody asked its driver to stop.
        progress: how far it is, at most a few seconds old while it runs.
        fence: the highest fencing number of its leases.
        driver: who drives it, "" if nobody does.
        created, updated: UTC.
        door: which way it came: "" from who can write to the store itself, `service` from
            who asked a service, so that what it may name is bounded (`spec.bounds`).
        proof_wanted: the `confirm` of a proof that was asked for once it was done, and that it has
            not come to yet; over its file's.
        warm_start: where its search began, if it took over what is best for a relative.
    """

    id: int
    name: str
    spec: str
    base: str
    state: StudyState
    message: str
    setting: Setting | None
    steps: int | None
    identity: Identity | None
    decisive: str | None
    attempts: tuple[Attempt, ...]
    stop_wanted: bool
    progress: Progress | None
    fence: int
    driver: str
    created: datetime
    updated: datetime
    door: str = ""
    proof_wanted: Mapping[str, Any] | None = None
    warm_start: WarmStart | None = None


EventKind: TypeAlias = Literal[
    "queued",
    "began",
    "note",
    "search",
    "confirm",
    "trial",
    "warning",
    "row",
    "stopped",
    "failed",
    "done",
    "retracted",
    "renamed",
    "phase",
]
"""`search` and `confirm` begin these; an older release called them and `note` all `phase`."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a study, for people.

    Arguments:
        study: its name.
        kind: what kind of thing.
        text: in words, one line.
        at: UTC.
        number: rising in a store; 0 if it is not stored.
    """

    study: str
    kind: EventKind
    text: str
    at: datetime
    number: int = 0


@dataclass(frozen=True)
class Driven:
    """What became of the studies that a driver took.

    Arguments:
        rows: of those that are done, by name.
        errors: why others are not.
        unable: what others lack here; they wait on.
    """

    rows: Mapping[str, Row] = field(default_factory=dict)
    errors: Mapping[str, Exception] = field(default_factory=dict)
    unable: Mapping[str, str] = field(default_factory=dict)

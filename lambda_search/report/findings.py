"""All that a report tells of one study, as the store has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property

from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Image
from lambda_search.records import Round
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import network_evaluations
from lambda_search.report.surface import Surface
from lambda_search.report.surface import fit_surface
from lambda_search.spec import Range
from lambda_search.spec import StudySpec
from lambda_search.spec import stored_spec
from lambda_search.store.store import Store

__all__ = ["Findings", "read_findings"]


@dataclass(frozen=True)
class Findings:
    """A study with everything that belongs to it; only `study` is always there.

    Arguments:
        study: its record.
        spec: its file; None if this release cannot read it.
        row: the last row that it made.
        trials, evaluations, events, rounds: in order.
        images: pictures of λ = 1 and of the row's λ.
        is_abandoned: whether it runs by its state, and its driver is gone.
    """

    study: Study
    spec: StudySpec | None = None
    row: Row | None = None
    trials: Sequence[Trial] = ()
    evaluations: Sequence[Evaluation] = ()
    events: Sequence[Event] = ()
    images: Sequence[Image] = ()
    is_abandoned: bool = False
    rounds: Sequence[Round] = ()

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name

    @property
    def model(self) -> str:
        """The model's name in the store."""
        if self.study.setting is not None:
            return self.study.setting.model
        return self.name if self.spec is None else self.spec.model.name or self.spec.name

    @property
    def sampler(self) -> str:
        """The sampler's name; "" if it is not known."""
        if self.study.setting is not None:
            return self.study.setting.solver
        return "" if self.spec is None else self.spec.sampler.name

    @property
    def steps(self) -> int | None:
        """The length of the grid, as far as it is known."""
        if self.study.steps is not None:
            return self.study.steps
        return None if self.spec is None else self.spec.sampler.steps

    @property
    def nfe(self) -> int | None:
        """Network evaluations for an image, as far as it is known."""
        return None if self.steps is None else network_evaluations(self.sampler, self.steps)

    @property
    def scored(self) -> Sequence[Trial]:
        """The trials with a gain, λ = 1 apart."""
        return [trial for trial in self.trials if trial.number and trial.gain is not None]

    @cached_property
    def winner(self) -> Trial | None:
        """The trial that the row is about; without a row, the best so far.

        That is who leads by the last judgement of rounds, or the best on the most images.
        """
        if self.row is not None and self.row.provenance.trial is not None:
            return self._numbered(self.row.provenance.trial)
        told = [one.judgement.best for one in self.rounds if one.judgement is not None]
        if told:
            return self._numbered(told[-1])
        return max(
            self.scored,
            key=lambda one: (one.n or 0, one.gain or 0.0, -one.number),
            default=None,
        )

    def _numbered(self, number: int) -> Trial | None:
        return next((one for one in self.trials if one.number == number), None)

    def with_most(self, count: int) -> Findings:
        """The same with so many trials at most: λ = 1, the winner, and those on most images."""
        if len(self.trials) <= count:
            return self
        first = sorted(self.trials, key=lambda one: (-(one.n or 0), -one.number))
        kept = {one.number for one in first[:count]} | {0}
        if self.winner is not None:
            kept.add(self.winner.number)
        return replace(
            self,
            trials=[one for one in self.trials if one.number in kept],
            evaluations=[one for one in self.evaluations if one.trial in kept],
        )

    @cached_property
    def ranges(self) -> tuple[Range, Range] | None:
        """Where mean and slope were searched; by what was tried, if the file cannot be read."""
        if self.spec is not None:
            return self.spec.search.mean, self.spec.slope_range(self.study.steps)
        means = [trial.mean for trial in self.trials]
        slopes = [trial.slope for trial in self.trials]
        return ((min(means), max(means)), (min(slopes), max(slopes))) if means else None

    @cached_property
    def surface(self) -> Surface | None:
        """The fitted gain over what was searched, if there are enough trials for one.

        Rounds go on beyond the ranges where better schedules may lie.
        """
        if self.ranges is None:
            return None
        mean, slope = self.ranges
        if self.rounds:
            scored = [one for one in self.trials if one.gain is not None]
            mean = _holding(mean, [one.mean for one in scored])
            slope = _holding(slope, [one.slope for one in scored])
        return fit_surface(self.trials, self.evaluations, mean, slope)


def _holding(ends: Range, values: Sequence[float]) -> Range:
    """`ends`, as far apart as to hold all values, unless they are one."""
    low, high = ends
    return ends if low == high else (min([low, *values]), max([high, *values]))


def read_findings(store: Store, name: str) -> Findings:
    """Reads the study `name`.

    Raises:
        UsageError: if there is none.
    """
    study = store.study(name)
    row = next(reversed(store.rows(study.id)), None)
    preview = "" if row is None else row.provenance.preview
    return Findings(
        study=study,
        spec=stored_spec(study.spec),
        row=row,
        trials=store.trials(study.id),
        evaluations=store.evaluations(study.id),
        events=store.events(name),
        images=store.images(preview) if preview else (),
        is_abandoned=study.state == "running" and not store.is_driven(study),
        rounds=store.rounds(study.id),
    )

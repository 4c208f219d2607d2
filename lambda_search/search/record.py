"""What is recorded of a study so far: its trials and evaluations, in step with the store."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace

from lambda_search.records import Evaluation
from lambda_search.records import Image
from lambda_search.records import Phase
from lambda_search.records import Round
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import Trial
from lambda_search.records import told_of_rounds
from lambda_search.store.leases import Lease
from lambda_search.store.store import Store

__all__ = ["Record"]


class Record:
    """The record of one study, under a lease.

    What is recorded is known here at once, and in the store after `commit`: all that a round or a
    rung came to, and what follows from it, in one transaction.

    An evaluation is known by its trial, phase and indices, not by the names of its features: what
    an earlier release has scored counts. `is_asked_anew` says that its proof was asked for again.

    Arguments:
        study: the study.
        lease: the right to write to it.
        store: where it is kept.
    """

    def __init__(self, study: Study, lease: Lease, store: Store) -> None:
        self._lease = lease
        self._store = store
        self._trials = {trial.number: trial for trial in store.trials(study.id)}
        self._known: dict[tuple[int, Phase, int, int], Evaluation] = {}
        self._remember(store.evaluations(study.id))
        proven = (row.provenance.confirm_indices for row in store.rows(study.id))
        self._proven = {indices[0] for indices in proven if indices is not None}
        self.is_asked_anew = study.proof_wanted is not None
        self._decisive = study.decisive
        self._rounds = {one.number: one for one in store.rounds(study.id)}
        self._pending: list[Callable[[Store], None]] = []

    @property
    def trials(self) -> list[Trial]:
        """All trials, in order."""
        return list(self._trials.values())

    @property
    def rounds(self) -> list[Round]:
        """All rounds, in order."""
        return list(self._rounds.values())

    def members(self, generation: int) -> list[Trial]:
        """The trials of a generation."""
        return [trial for trial in self.trials if trial.generation == generation]

    def evaluation(
        self, trial: Trial, n: int, phase: Phase = "search", first: int = 0
    ) -> Evaluation | None:
        """The trial's evaluation on n images from index `first` on, if there is one."""
        return self._known.get((trial.number, phase, first, n))

    def in_rounds(self, trial: Trial) -> list[Evaluation]:
        """The trial's evaluations in the rounds that are closed, in order."""
        found = (
            self.evaluation(trial, one.n, "search", one.first)
            for one in self.rounds
            if trial.number in one.trials
        )
        return [one for one in found if one is not None]

    def searched(self, trial: Trial) -> list[Evaluation]:
        """The trial's evaluations of the search, oldest first."""
        own = (one for one in self._known.values() if one.trial == trial.number)
        return [one for one in own if one.phase == "search"]

    @property
    def best(self) -> int | None:
        """The number of the trial that leads by the last judgement of rounds, if there is one."""
        told = [one.judgement.best for one in self.rounds if one.judgement is not None]
        return told[-1] if told else None

    def gains(self, n: int) -> dict[int, float]:
        """Gains at the rung n by trial number."""
        return {
            one.trial: one.gain
            for one in self._known.values()
            if one.phase == "search" and one.n == n and one.first == 0
        }

    def confirmations(self) -> Mapping[int, list[Evaluation]]:
        """The evaluations of earlier confirmations by their first index, oldest first."""
        found: dict[int, list[Evaluation]] = {}
        for one in self._known.values():
            if one.phase == "confirm":
                found.setdefault(one.first, []).append(one)
        return found

    def is_proven(self, first: int) -> bool:
        """Whether the confirmation on the indices from `first` on has come to a row."""
        return first in self._proven

    @property
    def is_searched_since(self) -> bool:
        """Whether anything was scored since the last confirmation."""
        return next((one.phase for one in reversed(self._known.values())), "search") == "search"

    def propose(self, members: Sequence[Trial]) -> None:
        """Records a generation."""
        if members:
            self._pending.append(lambda store: store.propose(self._lease, members))
            self._trials |= {trial.number: trial for trial in members}

    def close(self, evaluations: Sequence[Evaluation], ended: Sequence[Trial] = ()) -> None:
        """Records new evaluations, and trials that go no further."""
        if evaluations or ended:
            self._pending.append(lambda store: store.close_rung(self._lease, evaluations, ended))
            self._remember(evaluations)
            self._trials |= {trial.number: trial for trial in ended}

    def begin(self, begun: Round, new: Sequence[Trial]) -> None:
        """Records a round with the trials that are new in it."""
        self._pending.append(lambda store: store.begin_round(self._lease, begun, new))
        self._rounds[begun.number] = begun
        self._trials |= {trial.number: trial for trial in new}

    def end(
        self,
        closed: Round,
        evaluations: Sequence[Evaluation] = (),
        trials: Sequence[Trial] = (),
    ) -> None:
        """Records what a round said, its evaluations, and what is now known of its trials."""
        self._pending.append(
            lambda store: store.close_round(self._lease, closed, evaluations, trials)
        )
        self._rounds[closed.number] = closed
        self._remember(evaluations)
        self._trials |= {trial.number: trial for trial in trials}

    def commit(self) -> None:
        """Commits what was recorded since the last time.

        Raises:
            LeaseLost: if another driver has the study.
        """
        pending, self._pending = self._pending, []
        if pending:
            self._store.at_once(lambda store: [change(store) for change in pending])

    def publish(self, entries: Sequence[tuple[Row, Sequence[Image]]], digest: str) -> Row:
        """Commits the end: a row by the study's file, whose digest that is, or one asked for.

        The rows after the first are its companions. They are told how rounds led to them.
        """
        self.commit()
        told = [(self._with_rounds(row), images) for row, images in entries]
        (row, images), *others = told
        beside = [
            (replace(one, provenance=replace(one.provenance, companion=row.id)), pictures)
            for one, pictures in others
        ]
        decisive = self._decisive if self.is_asked_anew else digest
        return self._store.publish(self._lease, row, images, decisive, beside)

    def _with_rounds(self, row: Row) -> Row:
        if not self.rounds or row.provenance.rungs:
            return row
        told = replace(row.provenance, search=told_of_rounds(self.rounds))
        return replace(row, provenance=told)

    def _remember(self, evaluations: Iterable[Evaluation]) -> None:
        for one in evaluations:
            self._known[one.trial, one.phase, one.first, one.n] = one

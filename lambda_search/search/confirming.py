"""The confirmation of a study: its best candidates beside λ = 1 on images that nobody has seen."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_search.errors import Diverged
from lambda_search.events import Events
from lambda_search.records import Evaluation
from lambda_search.records import Image
from lambda_search.records import Row
from lambda_search.records import Terms
from lambda_search.records import Trial
from lambda_search.records import Worth
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.confirm import Confirmation
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import Proof
from lambda_search.search.confirm import level_for
from lambda_search.search.confirm import settle
from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen
from lambda_search.search.plan import Plan
from lambda_search.search.progress import Tracker
from lambda_search.search.publish import as_evaluation
from lambda_search.search.publish import as_row
from lambda_search.search.record import Record
from lambda_search.search.scoring import Scoring
from lambda_search.search.shortlist import Shortlist
from lambda_search.search.shortlist import nothing_finite
from lambda_search.search.worth import comparisons
from lambda_search.search.worth import worth_of
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Result
from lambda_search.work.recipe import confirm_start

__all__ = ["Confirming"]

_BASELINE = LambdaSchedule()
_PREVIEW_IMAGES = 32


class Confirming:
    """Confirms a study whose search has ended.

    Arguments:
        plan: the study.
        record: what is known of it.
        evaluator: scores schedules.
        scoring: the trials of its search.
        tracker: is kept up to date.
        events: are told what happens.
    """

    def __init__(
        self,
        plan: Plan,
        record: Record,
        evaluator: Evaluator,
        scoring: Scoring,
        tracker: Tracker,
        events: Events,
    ) -> None:
        self._plan = plan
        self._record = record
        self._evaluator = evaluator
        self._scoring = scoring
        self._tracker = tracker
        self._events = events
        self._shortlist = Shortlist(plan, record, scoring, events)

    def run(self) -> Row:
        """Compares the best candidates with λ = 1, settles, and commits the new row.

        Raises:
            Diverged: if λ = 1 makes images that are not finite.
            LambdaSearchError: if no candidate makes finite ones.
        """
        candidates = self._shortlist.candidates()
        for caution in self._shortlist.left_open(candidates[0]):
            self._events.say("warning", caution)
        looks = self._plan.looks(comparisons(self._plan.spec.search, candidates))
        first = self._round(candidates, looks)
        baseline, compared, made = self._look(candidates, first, looks)
        return self._publish(baseline, compared, candidates, first, _proof(looks, made))

    def _look(
        self, candidates: Sequence[Trial], first: int, looks: LookPlan
    ) -> tuple[Result, list[tuple[Trial, Result]], list[Seen]]:
        """Looks until it has seen enough: λ = 1 and the others at the last look, and all looks.

        A look is committed before it is used, so that one that is known is not made again.
        """
        made: list[Seen] = []
        found, alive = None, list(candidates)
        while (n := looks.next(made)) is not None:
            found = None
            if len(self._known(alive, first, n)) <= len(alive):
                found = self._compared(alive, first, n, _ordinal(looks, len(made)))
                alive = [trial for trial, _ in found[1]]
                self._commit(found, first, looks.terms)
            known = self._known(alive, first, n)
            made.append(_seen(known))
            self._tell(known[1:], looks, made)
        baseline, compared = found or self._compared(alive, first, made[-1].n, "")
        return baseline, compared, made

    def _known(self, candidates: Sequence[Trial], first: int, n: int) -> list[Evaluation]:
        """What is recorded of a look, λ = 1 first."""
        several = [self._record.trials[0], *candidates]
        found = (self._record.evaluation(trial, n, "confirm", first) for trial in several)
        return [one for one in found if one is not None]

    def _commit(
        self, found: tuple[Result, list[tuple[Trial, Result]]], first: int, terms: Terms
    ) -> None:
        baseline, compared = found
        n = baseline.score.n
        self._record.close(
            [
                as_evaluation(
                    trial, "confirm", first, result, self._scoring.name(trial, first, n), terms
                )
                for trial, result in [(self._record.trials[0], baseline), *compared]
                if self._record.evaluation(trial, n, "confirm", first) is None
            ]
        )
        self._record.commit()

    def _tell(self, known: Sequence[Evaluation], looks: LookPlan, made: Sequence[Seen]) -> None:
        """Says what a look has seen, where it is not the only one."""
        if looks.precision is None:
            return
        counts, ended = [one.n for one in made], looks.next(made) is None
        best = max(known, key=lambda one: (one.gain, -one.trial))
        half = looks.boundary(counts, ended) * best.gain_standard_error
        self._events.say(
            "note",
            f"on {counts[-1]:,} images trial {best.trial} gains {best.gain:.3g} ± {half:.2g}",
        )
        left = looks.target(made) - counts[-1]
        self._tracker.confirm(left * (len(known) + 1))

    def _compared(
        self, candidates: Sequence[Trial], first: int, n: int, look: str
    ) -> tuple[Result, list[tuple[Trial, Result]]]:
        """λ = 1, and those of the candidates that make finite images."""
        numbers = ", ".join(str(trial.number) for trial in candidates)
        self._events.say("confirm", f"confirming trial {numbers} and λ = 1 on {n:,} images{look}")
        schedules = [_BASELINE, *(trial.schedule for trial in candidates)]
        baseline, *results = self._evaluator.results(schedules, first, n, whole=True)
        assert isinstance(baseline, Result)  # else it would have been raised
        compared: list[tuple[Trial, Result]] = []
        for trial, result in zip(candidates, results, strict=True):
            if isinstance(result, Diverged):
                self._events.say(
                    "warning", f"trial {trial.number} diverged in confirmation: {result.cause}"
                )
            else:
                compared.append((trial, result))
        if not compared:
            raise nothing_finite()
        return baseline, compared

    def _publish(
        self,
        baseline: Result,
        compared: Sequence[tuple[Trial, Result]],
        candidates: Sequence[Trial],
        first: int,
        proof: Proof | None,
    ) -> Row:
        """Settles, and commits the row; of both families the best constant's own row too."""
        contenders = [
            Contender(trial.number, trial.schedule, result.score, result.against)
            for trial, result in compared
        ]
        told = comparisons(self._plan.spec.search, candidates)
        outcome = settle(baseline.score, contenders, proof, told)
        if self._plan.spec.search.family != "both":
            return self._commit_rows([outcome], baseline, compared, first)
        constant = next((one for one in contenders if one.schedule.k == 0), None)
        worth = None
        if constant is not None or self._shortlist.prefers_one(candidates):
            level = level_for(told)
            worth = worth_of(baseline.score, contenders, constant, proof, level)
        outcomes = [outcome]
        if constant is not None and outcome.best is not constant:
            beside = settle(baseline.score, [constant], proof, told)
            outcomes += [beside] * (beside.status == "confirmed")
        return self._commit_rows(outcomes, baseline, compared, first, worth)

    def _commit_rows(
        self,
        outcomes: Sequence[Confirmation],
        baseline: Result,
        compared: Sequence[tuple[Trial, Result]],
        first: int,
        worth: Worth | None = None,
    ) -> Row:
        """Commits the study's row, and with it that of another outcome."""
        entries, trials = [], {trial.number: trial for trial, _ in compared}
        for outcome in outcomes:
            best = outcome.best
            is_companion = outcome is not outcomes[0]
            left_open = self._shortlist.left_open(trials[best.trial], is_companion)
            row = as_row(
                outcome,
                baseline,
                compared,
                self._plan,
                first,
                self._evaluator.identity,
                self._evaluator.name(best.schedule, first, baseline.score.n),
                (*self._plan.cautions(), *left_open),
                worth,
            )
            schedules = [_BASELINE, best.schedule]
            pictures = self._evaluator.preview(schedules, first, _PREVIEW_IMAGES)
            captions = "λ = 1", f"λ = {best.schedule}"
            images = [Image(*one) for one in zip(captions, pictures, strict=True)]
            entries.append((row, images))
        row = self._record.publish(entries, self._plan.digest())
        if row.worth_words:
            self._events.say("note", row.worth_words)
        return row

    def _round(self, candidates: Sequence[Trial], looks: LookPlan) -> int:
        """The first index of this confirmation, whose images nobody has seen.

        One that was broken off goes on. One that only repeats the last one, to measure it
        otherwise, is on the images of that, unless it was asked for on others.
        """
        batch, rounds = self._plan.batch, self._record.confirmations()
        if not rounds:
            return confirm_start(batch)
        first, looked = max(rounds.items())
        if self._is_same(candidates, first, looked, looks) and not self._record.is_searched_since:
            return first
        after = max(one.first + one.n for many in rounds.values() for one in many)
        return max(confirm_start(batch), -(-after // batch) * batch)

    def _is_same(
        self,
        candidates: Sequence[Trial],
        first: int,
        looked: Sequence[Evaluation],
        looks: LookPlan,
    ) -> bool:
        """Whether a confirmation of the candidates is the very one that has looked so far.

        Under other terms it would be another one, which chose them once it had seen something.
        """
        numbers, seen = {0, *(one.number for one in candidates)}, {one.trial for one in looked}
        made = [
            _seen([one for one in looked if one.n == n]) for n in sorted({one.n for one in looked})
        ]
        one_look = Terms(looked[0].n, None, len(seen) - 1)  # all that an earlier release knew
        if (looked[0].terms or one_look) != looks.terms or not looks.leads_to(made):
            return False
        if not self._record.is_proven(first):
            return seen <= numbers
        return seen == numbers and looks.next(made) is None and not self._record.is_asked_anew


def _seen(known: Sequence[Evaluation]) -> Seen:
    """What a look sees of widths: of all its evaluations."""
    baseline = next((one.corrected for one in known if one.trial == 0), 0.0)
    return Seen(known[0].n, max(one.gain_standard_error for one in known), baseline)


def _ordinal(looks: LookPlan, made: int) -> str:
    return "" if looks.precision is None else f", look {made + 1} of at most {looks.most}"


def _proof(looks: LookPlan, made: Sequence[Seen]) -> Proof | None:
    """What the looks came to; None of one that was planned as the only one."""
    if looks.precision is None:
        return None
    counts = tuple(one.n for one in made)
    return Proof(
        looks.level,
        looks.boundary(counts, ended=True),
        counts,
        looks.most,
        looks.precision,
        looks.lack(made) <= 1,
    )

"""Scores of schedules beside λ = 1, or another one: what is known is read, the rest computed.

A shard is named by all that its features depend on, so a restarted launch, a higher rung or a
second study computes only what is missing. Features stay where they are kept, and the pool scores
them there; what comes to this process are scores, with an influence for each image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from lambda_search.diffusion.samplers import SAMPLER_REVISION
from lambda_search.errors import Diverged
from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SEED_SCHEME
from lambda_search.setting import fingerprint
from lambda_search.work.gathering import Gathering
from lambda_search.work.gathering import Reading
from lambda_search.work.gathering import Source
from lambda_search.work.halting import Halt
from lambda_search.work.identity import library_versions
from lambda_search.work.meter import Meter
from lambda_search.work.own import ReferenceAway
from lambda_search.work.own import kept
from lambda_search.work.own_making import Say
from lambda_search.work.own_making import make_own
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.scoring import Scored
from lambda_search.work.scoring import ScoreFeatures
from lambda_search.work.shards import Shards
from lambda_search.work.tasks import Preview
from lambda_search.work.tasks import Rehearse

__all__ = ["Evaluator", "Result"]

_BASELINE = LambdaSchedule()


@dataclass(frozen=True)
class Result:
    """A schedule's score beside λ = 1, or another schedule, on the same indices and noise.

    Arguments:
        score: of the distance that is minimised.
        against: the comparison with that one.
        also: the same for the other distances, on the same images.
        picture: a PNG of its first images, if they were sampled for this.
        projected: the score that ranks on few images, if it was asked for.
    """

    score: Score
    against: Comparison
    also: tuple[Result, ...] = ()
    picture: bytes | None = None
    projected: Score | None = None


class Evaluator:
    """Turns (schedules, indices) into results.

    Arguments:
        recipe: how images are made and measured.
        shards: what this process has under way and keeps, and its pool.
        meter: what to count in.
        halt: ends its waiting from another thread.
        device: the kind of device that does all of it; the pool's main kind unless given.

    `identity` is what the features depend on besides the recipe: versions, hardware, noise.
    """

    def __init__(
        self,
        recipe: Recipe,
        shards: Shards,
        meter: Meter | None = None,
        halt: Halt | None = None,
        device: str | None = None,
    ) -> None:
        self.recipe = recipe
        self.meter = meter or Meter()
        self.identity = _identity(recipe, device or shards.pool.device_kind)
        self._halt = halt or Halt()
        self._source = Source(recipe, self.identity, shards, self.meter, self._halt)
        self._beside: dict[tuple[LambdaSchedule, int, int, bool, int | None], list[Scored]] = {}

    def name(self, schedule: LambdaSchedule, first: int, n: int) -> str:
        """Names the features of n images from index `first` on, by the measure that ranks."""
        ranking = self.recipe.measures[0]
        shards = {
            start: self._source.name(schedule, start, ranking)
            for start in range(first, first + n, self.recipe.batch)
        }
        return fingerprint({"shards": shards, "n": n})

    def prepare(self, say: Say | None = None) -> None:
        """Tries every extractor, and loads or makes every reference, the model's own samples last.

        Arguments:
            say: is told of these, a line at a time.

        Raises:
            UsageError: for one that turns out to be broken, before anything is sampled.
            Diverged: if the model's own samples are not finite.
        """
        rehearsal = Rehearse(self.recipe, self._source.shards.place)
        self._halt.result(self._source.submit(rehearsal))
        make_own(self._source, say or (lambda text: None))

    def results(
        self,
        schedules: Sequence[LambdaSchedule],
        first: int,
        n: int,
        whole: bool = False,
        components: int | None = None,
        beside: LambdaSchedule = _BASELINE,
    ) -> list[Result | Diverged]:
        """Results of `schedules` on the n images from index `first` on, in order.

        All their shards are queued at once, those of the one that they are compared with before
        them; each schedule is scored as soon as its images are there. With `whole`, every measure
        is scored on them, with FID∞ and KID beside; with `components`, the projected score of so
        many too. `beside` may be among the schedules.

        Raises:
            Diverged: if `beside` diverges; any other schedule's divergence is its result.
        """
        measures = self.recipe.measures if whole else self.recipe.measures[:1]
        gathered = {
            schedule: self._source.gather(schedule, first, n, measures)
            for schedule in dict.fromkeys([beside, *schedules])
        }
        theirs = gathered.pop(beside)
        theirs.wait()
        told = whole, components
        compared = self._beside.get((beside, first, n, *told))
        scoring = [] if compared else self._score(measures, theirs, theirs, *told)
        pending: dict[LambdaSchedule, _Pending | Diverged] = {}
        for schedule, coming in gathered.items():
            try:
                coming.wait()
            except Diverged as error:
                pending[schedule] = Diverged(error.cause, error.hint)  # one without its frames
            else:
                pending[schedule] = _Pending(self._score(measures, coming, theirs, *told), coming)
        if compared is None:
            compared = [one.result() for one in scoring]
            self._beside[beside, first, n, *told] = compared
        found: dict[LambdaSchedule, Result | Diverged] = {
            schedule: one if isinstance(one, Diverged) else one.result(compared)
            for schedule, one in pending.items()
        }
        if beside in schedules:
            found[beside] = _result(compared, compared, theirs.picture)
        return [found[schedule] for schedule in schedules]

    def preview(self, schedules: Sequence[LambdaSchedule], first: int, count: int) -> list[bytes]:
        """A picture (PNG) of each schedule's first `count` images from `first` on; one batch's."""
        futures = [
            self._source.submit(Preview(self.recipe, schedule, first, count))
            for schedule in schedules
        ]
        return [self._halt.result(future) for future in futures]

    def _score(
        self,
        measures: Sequence[Measure],
        these: Gathering,
        baseline: Gathering,
        whole: bool,
        components: int | None,
    ) -> list[_Scoring]:
        found = []
        for measure in measures:
            rows = these.rows(measure), baseline.rows(measure)
            task = ScoreFeatures(measure, *rows, whole, components=components)
            found.append(_Scoring(self._source, task, (these, baseline)))
        return found


class _Scoring:
    """A score on its way; a host that has not the model's own samples is sent what is missing."""

    def __init__(
        self, source: Source, task: ScoreFeatures, gathered: tuple[Gathering, Gathering]
    ) -> None:
        self._source = source
        self._task = task
        self._gathered = gathered
        self._reading: Reading[Scored] = Reading(source, task, gathered)

    def result(self) -> Scored:
        try:
            return self._reading.result()
        except ReferenceAway:
            measure = self._task.measure
            sent = None if measure.own is None else kept(measure)
            if sent is None:
                raise
        again = replace(self._task, sent=sent)
        reading: Reading[Scored] = Reading(self._source, again, self._gathered)
        return reading.result()


@dataclass(frozen=True)
class _Pending:
    """A schedule that is being scored."""

    scores: list[_Scoring]
    gathered: Gathering

    def result(self, compared: Sequence[Scored]) -> Result:
        return _result([one.result() for one in self.scores], compared, self.gathered.picture)


def _result(scored: Sequence[Scored], compared: Sequence[Scored], picture: bytes | None) -> Result:
    """One result of the scores by each measure, beside those that they are compared with."""
    ranking, *others = (
        Result(
            one.score,
            paired(one.score, baseline.score, one.correlation),
            projected=one.projected,
        )
        for one, baseline in zip(scored, compared, strict=True)
    )
    return replace(ranking, also=tuple(others), picture=picture)


def _identity(recipe: Recipe, device: str) -> Identity:
    found = library_versions()
    versions = {
        name: found[name] for name in ("torch", "numpy", *recipe.libraries) if name in found
    }
    return Identity(recipe.seed, device, SEED_SCHEME, SAMPLER_REVISION, versions)

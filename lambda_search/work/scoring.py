"""Tasks that read features where they are kept: scores of schedules, and statistics of samples.

They answer with numbers, or say which features are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace

from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import correlation
from lambda_search.metrics.evidence import extras
from lambda_search.metrics.evidence import score
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.work.context import WorkerContext
from lambda_search.work.own import keep
from lambda_search.work.own import statistics_of
from lambda_search.work.recipe import Measure
from lambda_search.work.rows import Lost
from lambda_search.work.rows import Rows

__all__ = ["ScoreFeatures", "Scored", "Summarise"]


@dataclass(frozen=True)
class Scored:
    """What is told of a schedule's features.

    Arguments:
        score: their distance to the reference.
        correlation: with those of the schedule beside it, image by image.
        projected: the score that ranks, where that is not `score` (`metrics.projection`).
    """

    score: Score
    correlation: float
    projected: Score | None = None


@dataclass(frozen=True)
class ScoreFeatures:
    """Scores one schedule's features against the reference of `measure`.

    Arguments:
        measure: which distance.
        rows: the features.
        baseline: those of the schedule beside it, on the same indices.
        whole: whether FID∞ and KID are told too.
        sent: the reference, for a host that has not the model's own samples.
        components: of the projected score, if they are to have one.
    """

    measure: Measure
    rows: Rows
    baseline: Rows
    whole: bool = False
    sent: Statistics | None = None
    components: int | None = None

    @property
    def sort(self) -> str:
        """Scores of as many features of one width take about as long."""
        return f"score {(self.rows.n, self.rows.width)}{' whole' if self.whole else ''}"

    def run(self, context: WorkerContext) -> Scored | Lost:
        """The score, or which features are not there.

        Raises:
            ReferenceAway: if this host has to be sent the reference.
        """
        if self.sent is not None:
            keep(self.measure, self.sent)
        frechet = context.frechet(self.measure)
        files = context.features(self.rows.place)
        features = self.rows.read(files)
        if isinstance(features, Lost):
            return features
        baseline = self.baseline.read(files)
        if isinstance(baseline, Lost):
            return baseline
        correlated = correlation(features, baseline)
        del baseline  # what a score needs is several times as large
        found = score(features, frechet)
        if self.whole:
            told = extras(features, frechet, context.kernel(self.measure))
            found = replace(found, extras=told)
        projected = None
        if self.components is not None:
            projected = context.projection(self.measure, self.components).score(features)
        return Scored(found, correlated, projected)


@dataclass(frozen=True)
class Summarise:
    """The statistics of a model's own samples, which become a reference.

    Arguments:
        measure: whose features.
        rows: the features.
        model: what made the samples, for people.
    """

    measure: Measure
    rows: Rows
    model: str

    def run(self, context: WorkerContext) -> Statistics | Lost:
        """Them, or which features are not there."""
        features = self.rows.read(context.features(self.rows.place))
        if isinstance(features, Lost):
            return features
        return statistics_of(self.measure, features, self.model)

"""A study, ready to run: what is resolved of its file, and what follows from that."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lambda_search.metrics.evidence import enough_images
from lambda_search.records import NoiseLevel
from lambda_search.records import Terms
from lambda_search.records import WarmStart
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.looks import LookPlan
from lambda_search.search.rungs import default_rungs
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.terms import decisive
from lambda_search.search.terms import hurried
from lambda_search.search.terms import knowledge_gradient
from lambda_search.setting import Setting
from lambda_search.setting import fingerprint
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec
from lambda_search.work.own import unmade
from lambda_search.work.recipe import Recipe

__all__ = ["Plan"]

_OF_ROUNDS = 4
"""What digests have of `parallel` in a search by rounds: those that ended stay ended under another
one, which was 4 unless given in the first release that had them."""


@dataclass(frozen=True)
class Plan:
    """A study, ready to run.

    Arguments:
        spec: the study file.
        setting: what its rows hold for.
        recipe: what workers need.
        space: where λ is looked for; `space.steps` is the real length of the grid.
        levels: the noise at each of its steps, least noisy first; empty where it is not known.
        former: the setting as release 0.1 spelled it, where it is now spelled otherwise.
        revision: the commit on the hub that the model was fetched at, if it was.
        reference_notes: what was read for its references and what not, and what of its own
            network are features, in words.
        doubts: what makes these weak, or of another kind than the model's images.
        warm_start: where its search begins, if it takes over what is best for a relative.
        components: of the projected distance by which its rounds rank; None: by the FID.
        named: the model as rows name it, where its files do not last; as in `spec` unless given.
    """

    spec: StudySpec
    setting: Setting
    recipe: Recipe
    space: Space
    levels: tuple[NoiseLevel, ...] = ()
    former: Setting | None = None
    revision: str | None = None
    reference_notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    warm_start: WarmStart | None = None
    components: int | None = None
    named: ModelSpec | None = None

    @property
    def batch(self) -> int:
        """B, the images of a shard."""
        return self.recipe.batch

    @property
    def rungs(self) -> tuple[int, ...]:
        """Numbers of images at which trials are compared; from d where the file leaves it open.

        None where the search goes in rounds.
        """
        if self.kg is not None:
            return ()
        return self.spec.metric.rungs or default_rungs(self._width, self.batch)

    @property
    def kg(self) -> KnowledgeGradient | None:
        """Who decides on the search's rounds, where it has some."""
        search, begin = self.spec.search, self.warm_start
        proof = 2 * self.looks(self.most_comparisons).expected
        return knowledge_gradient(
            search, self.space, self._width, self.batch, begin, self.components, proof
        )

    @property
    def begin(self) -> Point | None:
        """Where its search begins, if that is known."""
        told = self.warm_start
        return None if told is None else Point(told.mean, told.slope)

    @property
    def _width(self) -> int:
        return self.recipe.measures[0].width

    def digest(self) -> str:
        """Digest of all that decides the study's numbers, however its file says it.

        Labels, the places of files and the spelling of equal values are no part of it.
        """
        search, confirm = self.spec.search, self.spec.confirm
        return fingerprint(
            {
                "setting": self.setting.key,
                "measures": [
                    [one.extractor_fingerprint, one.reference_fingerprint]
                    for one in self.recipe.measures
                ],
                "mean": self.space.mean,
                "slope": self.space.slope,
                "steps": self.space.steps,
                "trials": search.trials,
                "parallel": search.parallel if self.kg is None else _OF_ROUNDS,
                "proposals": search.proposals,
                "seed": search.seed,
                "rungs": self.rungs,
                "top": confirm.top,
                "samples": confirm.samples,
                **decisive(search, self._width, self.components),
            }
            | ({} if confirm.precision is None else {"precision": confirm.precision})
        )

    def cautions(self) -> tuple[str, ...]:
        """What will make the study's outcome weak, in words."""
        found, enough = [], enough_images(self._width)
        if self.rungs and self.rungs[0] < self._width:
            found.append(
                f"below {self._width:,} images, the features' width, trials are hard to rank; the "
                f"first rung has {self.rungs[0]:,}"
            )
        if self.spec.confirm.samples < enough:
            found.append(
                f"confirm.samples is {self.spec.confirm.samples:,}; below {enough:,}, four times "
                "the features' width, no gain can be confirmed"
            )
        return (*found, *hurried(self.kg), *self.doubts)

    def shards(self, n: int) -> int:
        """How many shards hold n images."""
        return ceil(n / self.batch)

    @property
    def candidates(self) -> int:
        """How many schedules are confirmed beside λ = 1, at most."""
        return self.spec.confirm.top + (self.spec.search.family == "both")

    @property
    def most_comparisons(self) -> int:
        """How many differences a confirmation of so many tells (`worth`)."""
        top = self.spec.confirm.top
        return self.candidates + top * (self.spec.search.family == "both")

    def looks(self, comparisons: int) -> LookPlan:
        """The looks of a confirmation that tells so many differences."""
        told, first = self.spec.confirm, default_rungs(self._width, self.batch)[-1]  # 4d
        return LookPlan(Terms(told.samples, told.precision, comparisons), first, self.batch)

    def confirm_images(self, samples: int | None = None) -> int:
        """Images that the confirmation makes on `samples` of each schedule, by default all."""
        shards = self.shards(samples or self.spec.confirm.samples)
        return shards * (self.candidates + 1) * self.batch

    def most_images(self) -> int:
        """Images that the search and the confirmation make, if every second trial goes on.

        Those of rounds at most.
        """
        if self.kg is not None:
            return self.kg.most_images + self.confirm_images() + self.own_images()
        alive, before, shards = self.spec.search.trials, 0, 0
        for n in self.rungs:
            shards += alive * (self.shards(n) - self.shards(before))
            alive, before = alive // 2 + 1, n
        return shards * self.batch + self.confirm_images() + self.own_images()

    def own_images(self) -> int:
        """The model's own samples that its references need and that this host has not."""
        return sum(own.n for own in unmade(self.recipe.measures))

    def widest_shards(self) -> int:
        """How many shards of the search can be sampled at once: the workers that help."""
        if self.kg is not None:
            return max(self.kg.first_images, self.kg.allowance.later_images) // self.batch
        return self.spec.search.parallel * self.shards(self.rungs[-1])

    def most_feature_bytes(self) -> int:
        """What their float32 features take on disk."""
        ranking, *others = (measure.width for measure in self.recipe.measures)
        beside = self.confirm_images() + self.own_images()
        return 4 * (self.most_images() * ranking + beside * sum(others))

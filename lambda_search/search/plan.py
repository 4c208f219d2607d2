"""From a study file to what will be run: the model read, every option resolved, the cost known."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch

from lambda_search.errors import UsageError
from lambda_search.metrics.features import load_extractor
from lambda_search.metrics.reference import load_reference
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import check_site
from lambda_search.search.space import Space
from lambda_search.search.tasks import Recipe
from lambda_search.setting import Setting
from lambda_search.spec import CONFIRM_FROM
from lambda_search.spec import StudySpec
from lambda_search.store.paths import references_folder

__all__ = ["Plan", "confirm_start", "resolve"]


@dataclass(frozen=True)
class Plan:
    """A study, ready to run.

    Arguments:
        spec: the study file.
        setting: what its rows hold for.
        recipe: what workers need.
        space: where λ is looked for; `space.steps` is the real length of the grid.
        width: d, the width of the features.
    """

    spec: StudySpec
    setting: Setting
    recipe: Recipe
    space: Space
    width: int

    @property
    def batch(self) -> int:
        """B, the images of a shard."""
        return self.recipe.options.batch

    def shards(self, n: int) -> int:
        """How many shards hold n images."""
        return ceil(n / self.batch)

    def most_images(self) -> int:
        """Images that the search and the confirmation make if every second trial goes on."""
        rungs = self.spec.metric.rungs
        alive, before, shards = self.spec.search.trials, 0, 0
        for n in rungs:
            shards += alive * (self.shards(n) - self.shards(before))
            alive, before = alive // 2 + 1, n
        return (
            shards + self.shards(self.spec.confirm.samples) * (self.spec.confirm.top + 1)
        ) * self.batch


def confirm_start(batch: int) -> int:
    """The first index of confirmation: the first whole batch from 10⁶ on."""
    return ceil(CONFIRM_FROM / batch) * batch


def resolve(spec: StudySpec, model: Model | None = None) -> Plan:
    """Reads the model, the extractor and the reference, and resolves every open option.

    Arguments:
        spec: the study.
        model: its model, if it is loaded already.

    Raises:
        UsageError: if any of them is missing, unreadable, or cannot do what the study asks.
    """
    if model is None:
        model = load_model(spec.model.framework, spec.model.checkpoint, spec.model.config)
    sampler = spec.sampler
    model.check_conditions(None, sampler.guidance)
    check_site(sampler.name, sampler.site)
    model.check_decoder()
    options = model.resolve(sampler.name, sampler.steps, sampler.options)
    steps = len(model.grid(sampler.name, sampler.steps, options))
    extractor = load_extractor(spec.metric.extractor, torch.device("cpu"))
    reference = load_reference(spec.metric.reference, extractor, cache=references_folder())
    if reference.dim != extractor.dim:
        raise UsageError(
            f"The reference {spec.metric.reference} is {reference.dim} wide, and the "
            f"extractor's features are {extractor.dim} wide.",
            "Use a reference that was made with the same extractor.",
        )
    setting = Setting(
        model=spec.model.name or spec.name,
        weights=model.sha256,
        framework=spec.model.framework,
        definition=model.definition,
        sampler=sampler.name,
        options=options,
        steps=sampler.steps,
        guidance=sampler.guidance,
        site=sampler.site,
        metric=spec.metric.name,
        extractor=f"{extractor.name}@{extractor.fingerprint[:16]}",
        reference=f"{Path(reference.name).name}@{reference.fingerprint[:16]}",
    )
    recipe = Recipe(
        framework=spec.model.framework,
        checkpoint=spec.model.checkpoint,
        config=spec.model.config,
        weights=model.sha256,
        definition=model.definition,
        sampler=sampler.name,
        steps=sampler.steps,
        options=options,
        site=sampler.site,
        guidance=sampler.guidance,
        seed=spec.search.seed,
        extractor=spec.metric.extractor,
        extractor_fingerprint=extractor.fingerprint,
        reference=spec.metric.reference,
        reference_fingerprint=reference.fingerprint,
    )
    return Plan(spec, setting, recipe, Space.of(spec, steps), extractor.dim)

"""What a study file says of rounds by the knowledge gradient, what it leaves open filled in."""

from __future__ import annotations

from typing import Any

from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import enough_images
from lambda_search.records import WarmStart
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.spec import SearchSpec

__all__ = ["check_budget", "decisive", "hurried", "knowledge_gradient", "tolerance_of"]

_TOLERANCE = 0.01
_LEAST_ROUNDS = 2
"""Rounds after the first, with fewer of which a search has hardly begun."""

_DIGESTED, _DIGESTED_WIDTHS = 10_000, 40
"""What digests have of a budget that is left open, at least and for each feature: what it was in
the first release that had one, so that studies that ended stay ended."""

_WIDTH = 2048
"""d of Inception, which is assumed where no extractor is here to tell."""


def knowledge_gradient(
    search: SearchSpec,
    space: Space,
    width: int,
    batch: int,
    begin: WarmStart | None = None,
    components: int | None = None,
    proof: int = 0,
) -> KnowledgeGradient | None:
    """Whose rounds a study has; None where it has rungs.

    Arguments:
        search: what its file says.
        space: its ranges.
        width: d, 0 where it is not known.
        batch: images in a shard.
        begin: what is best for a relative, if that is known.
        components: k of the projected distance, if that ranks; its bias is small from 4k images.
        proof: images that the proof of one candidate is expected to take.
    """
    if search.proposals != "kg":
        return None
    return KnowledgeGradient(
        space,
        components or width or _WIDTH,
        batch,
        search.seed,
        count=max(search.parallel - 1, 1),
        tolerance=tolerance_of(search),
        budget=None if search.budget is None else search.budget.images,
        trials=search.trials,
        both=search.family == "both",
        begin=None if begin is None else Point(begin.mean, begin.slope),
        is_close=begin is not None and begin.is_close,
        least=None if components is None else enough_images(components),
        proof=proof,
    )


def tolerance_of(search: SearchSpec) -> float:
    """The share of the FID that is not worth more images."""
    return _TOLERANCE if search.tolerance is None else search.tolerance


def decisive(search: SearchSpec, width: int, components: int | None) -> dict[str, Any]:
    """What decides numbers of some studies alone, beside what decides those of all."""
    some: dict[str, Any] = {"family": "both"} if search.family == "both" else {}
    some |= {"warm_start": True} if search.warm_start else {}
    if search.proposals != "kg":
        return some
    some |= {} if components is None else {"components": components}
    each = (width or _WIDTH) if components is None else enough_images(components)
    left_open = max(_DIGESTED, _DIGESTED_WIDTHS * each)
    given = None if search.budget is None else search.budget.images
    some |= {"budget": left_open if given is None else given}
    some |= {"given": True} if given == left_open else {}
    return some | {"tolerance": tolerance_of(search)}


def hurried(model: KnowledgeGradient | None) -> tuple[str, ...]:
    """A caution where the budget ends a search that has hardly begun."""
    if model is None or model.most_images == model.first_images:
        return ()
    first, later = model.first_images, model.allowance.later_images
    wanted = first + _LEAST_ROUNDS * later
    if model.allowance.images >= wanted:
        return ()
    return (
        f"search.budget.images is {model.allowance.images:,}: after the first round of {first:,} "
        f"images it has room for fewer than {_LEAST_ROUNDS} more of {later:,}; the search has "
        f"hardly begun below {wanted:,}",
    )


def check_budget(search: SearchSpec, model: KnowledgeGradient | None) -> None:
    """Raises UsageError for a budget that is spent before the first round."""
    if model is None or search.budget is None or search.budget.images >= model.first_images:
        return
    raise UsageError(
        f"search.budget.images is {search.budget.images:,}, and the first round has "
        f"{model.first_images:,} images.",
        f"Take {model.first_images + _LEAST_ROUNDS * model.allowance.later_images:,} or more, or "
        "leave it out.",
    )

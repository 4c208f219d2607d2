"""By which score the rounds of a search rank: the FID, or what few images tell of it.

The corrected FID of n images is biased by d/n, the projected distance (`metrics.projection`) by
k/n, and so rounds have d images of each schedule or more, or 4k. What a study's first round ranked
by, all others do: scores of two kinds cannot be compared, and a driver that starts again has to
come to the same digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lambda_search.errors import UsageError
from lambda_search.records import Round
from lambda_search.search.plan import Plan
from lambda_search.spec import SearchSpec

__all__ = ["COMPONENTS", "as_begun", "components_of"]

COMPONENTS = 32
"""Leading ones with covariances, unless a study's file says how many."""

_WIDE = 256
"""Features from which on these rank, unless the file says what does."""


def components_of(search: SearchSpec, width: int) -> int | None:
    """The components of the projected distance that ranks in rounds; None: the FID does.

    Arguments:
        search: what the file says.
        width: d; 0 where it is not known, and as wide as Inception's then.
    """
    if search.proposals != "kg" or search.score == "fid":
        return None
    is_asked = search.score == "projected" or search.components is not None
    found = search.components or COMPONENTS
    if width and (width <= found or (width < _WIDE and not is_asked)):
        return None
    return found


def as_begun(plan: Plan, rounds: Sequence[Round]) -> Plan:
    """`plan` with the score by which the study's rounds have ranked so far.

    Raises:
        UsageError: if its file asks for another one.
    """
    if plan.kg is None or not rounds or rounds[0].components == plan.components:
        return plan
    search, begun = plan.spec.search, rounds[0].components
    if search.score is not None or search.components is not None:
        raise UsageError(
            f"The rounds of '{plan.spec.name}' have ranked by {_words(begun)}, and its file asks "
            f"for {_words(plan.components)}.",
            "Leave search.score and search.components as they were, or give the study another "
            "name.",
        )
    return replace(plan, components=begun)


def _words(components: int | None) -> str:
    if components is None:
        return "the FID"
    return f"the projected distance of {components} components"

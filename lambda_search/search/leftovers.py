"""Which features unfinished studies may still need; the rest can be swept."""

from __future__ import annotations

from collections.abc import Iterable

from lambda_search.records import Study
from lambda_search.spec import stored_spec
from lambda_search.work.recipe import family_of

__all__ = ["done_families", "needed_families"]


def needed_families(studies: Iterable[Study]) -> set[str]:
    """The families of features (`Recipe.family`) of all `studies` that are not done.

    A study that no driver has resolved yet has none; one whose proof was asked for again, and
    waits or broke off under its name, has.
    """
    return _families(study for study in studies if not _is_done(study))


def done_families(studies: Iterable[Study]) -> set[str]:
    """The families of features of all `studies` that are done."""
    return _families(study for study in studies if _is_done(study))


def _is_done(study: Study) -> bool:
    return study.state == "done" and study.proof_wanted is None


def _families(studies: Iterable[Study]) -> set[str]:
    found = set()
    for study in studies:
        if study.setting is not None:
            spec = stored_spec(study.spec)
            if spec is not None:  # one that can no longer be read cannot go on
                found.add(family_of(study.setting, spec.search.seed))
    return found

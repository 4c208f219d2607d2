"""The plan of a study as the store has it: what its file names is looked up where it is driven."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lambda_search.paths import studies_folder
from lambda_search.records import Study
from lambda_search.search.plan import Plan
from lambda_search.spec import Bounds
from lambda_search.spec import ConfirmSpec
from lambda_search.spec import StudySpec
from lambda_search.spec import located
from lambda_search.spec import parse_specs
from lambda_search.spec import unpacked

__all__ = ["as_wanted", "located_spec"]


def located_spec(
    study: Study, files: Mapping[str, bytes], folders: Sequence[Path], bounds: Bounds
) -> StudySpec:
    """A study's file with the places of what it names.

    Arguments:
        study: as it is stored.
        files: the config and prompt files that came with it, by name.
        folders: where the other files that it names are looked up.
        bounds: what it may name if it was posted to a service.

    Raises:
        UsageError: for a file that cannot be read, or what it may not name.
        MissingFile: for what is not here.
    """
    [spec] = parse_specs(study.spec, f"the study '{study.name}'")
    places = unpacked(files, studies_folder())
    if study.door:
        return bounds.located(spec, files, places)
    base = [Path(study.base)] if study.base else []
    return located(spec, [*folders, *base, Path.cwd()], places)


def as_wanted(plan: Plan, confirm: Mapping[str, Any] | None) -> Plan:
    """`plan` with the `confirm` of a proof that was asked for; as it is if none was."""
    if confirm is None:
        return plan
    told = ConfirmSpec.model_validate(dict(confirm))
    return replace(plan, spec=plan.spec.model_copy(update={"confirm": told}))

"""What the store alone tells of studies that are submitted again, before anything heavy is loaded.

Who drives them, which are done already, and what has changed in their files.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.shell import command
from lambda_search.spec import Change
from lambda_search.spec import StudySpec
from lambda_search.spec import Written
from lambda_search.spec import changes
from lambda_search.spec import stored_spec
from lambda_search.spec.seen import stamp
from lambda_search.spec.seen import was_seen
from lambda_search.store.settings import other_name
from lambda_search.store.store import Store

__all__ = ["Changed", "answered", "changed", "driven_by", "held"]

_RANGES = ("search.mean", "search.slope")


@dataclass(frozen=True)
class Changed:
    """A study whose file is not the one that is stored.

    Arguments:
        study: its name.
        fields: what differs.
        candidates: how many it has tried, λ = 1 apart.
        count: how many of these count: those in the ranges of the new file, or where it goes in
            rounds those that rounds have measured.
        in_rounds: whether it does.
    """

    study: str
    fields: Sequence[Change]
    candidates: int
    count: int
    in_rounds: bool = False

    @property
    def lines(self) -> list[str]:
        """All of it in words."""
        found = [f"The file of '{self.study}' is not the one that is stored:"]
        found += [f"  {one}" for one in self.fields]
        return found + ([self.consequence] if self.consequence else [])

    @property
    def consequence(self) -> str:
        """Which trials still count; "" if there are none yet."""
        if not any(one.decides for one in self.fields):
            return "Nothing that decides numbers has changed."
        if not self.candidates:
            return ""
        if not self.in_rounds:
            return self._of_ranges
        words = f"All {self.candidates} candidates so far count"
        if self.count < self.candidates:
            words = (
                f"{self.count} of {self.candidates} candidates so far were measured in rounds and "
                "count; the others are kept, and rounds measure anew"
            )
        moved = self.count and any(one.field in _RANGES for one in self.fields)
        told = "; where to look, those in and near the new ranges tell" if moved else ""
        return f"{words}{told}."

    @property
    def _of_ranges(self) -> str:
        if self.count == self.candidates:
            return f"All {self.candidates} candidates so far count."
        return (
            f"{self.count} of {self.candidates} candidates so far lie in the new ranges and "
            "count; the others are kept, and cannot be confirmed."
        )


def held(names: Iterable[str], store: Store) -> dict[str, str]:
    """Of the studies `names`, those that a living driver is at work on: who it is."""
    wanted = set(names)
    return {
        study.name: study.driver
        for study in store.studies()
        if study.name in wanted and store.is_driven(study)
    }


def driven_by(name: str, driver: str) -> LambdaSearchError:
    """The error that a living driver is at work on a study."""
    return LambdaSearchError(
        f"The study '{name}' is being driven by {driver}.",
        f"Watch it with: {command('wait', name)}",
    )


def answered(studies: Sequence[Written], store: Store) -> dict[str, Row]:
    """The rows of those that are done, and whose files say nothing else since, by name.

    The files that they name are the very ones that a launch on this host came to them with.
    """
    known = {one.name: one for one in store.studies() if one.state == "done"}
    found: dict[str, Row] = {}
    for one in studies:
        study = known.get(one.spec.name)
        before = None if study is None else stored_spec(study.spec)
        if study is None or before is None or not study.decisive:
            continue
        rows = store.rows(study.id)
        same = not any(change.decides for change in changes(before, one.spec))
        if rows and same and was_seen(study.decisive, stamp(one.spec, one.base)):
            found[study.name] = rows[-1]
    return found


def changed(studies: Sequence[Written], store: Store) -> list[Changed]:
    """Those whose files differ from what is stored under their names.

    Raises:
        UsageError: if one has become another study: its trials and the new ones could not be
            compared.
    """
    known = {one.name: one for one in store.studies()}
    found = []
    for one in studies:
        study = known.get(one.spec.name)
        before = None if study is None else stored_spec(study.spec)
        if study is None or before is None:
            continue
        seed = None if study.identity is None else study.identity.seed
        fields = changes(before, one.spec, study.setting, seed)
        broken = [change for change in fields if change.breaks]
        if broken:
            raise UsageError(
                f"The study '{study.name}' in the store was begun with another file, and its "
                "trials cannot be compared with those of this one:\n"
                + "\n".join(f"  {change}" for change in broken),
                other_name(study.name),
            )
        if fields:
            found.append(Changed(study.name, fields, *_counted(study, one.spec, store)))
    return found


def _counted(study: Study, spec: StudySpec, store: Store) -> tuple[int, int, bool]:
    """How many candidates a study has tried, how many of them count, and whether by rounds."""
    tried = [one for one in store.trials(study.id) if one.number and not one.is_unmeasured]
    if spec.search.proposals == "kg":
        measured = {number for one in store.rounds(study.id) for number in one.trials}
        return len(tried), sum(one.number in measured for one in tried), True
    (low, high), (down, up) = spec.search.mean, spec.slope_range(study.steps)
    inside = [one for one in tried if low <= one.mean <= high and down <= one.slope <= up]
    return len(tried), len(inside), False

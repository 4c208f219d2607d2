"""What differs between two files of one study, field by field, and what that means for it.

A study keeps its trials while its file changes, as long as the numbers stay comparable: its
ranges, its budget and its proof may change, its setting and its seed may not. What a file only
names (weights, configs, references) is compared by content where it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_search.setting import Setting
from lambda_search.spec.models import StudySpec

__all__ = ["Change", "changes"]

_LABELS = ("model.dataset", "model.source", "queue.")


@dataclass(frozen=True)
class Change:
    """A field that differs.

    Arguments:
        field: its name, with dots.
        before, after: its values; None where it is left out.
        breaks: whether trials of before and after are certainly not comparable.
    """

    field: str
    before: Any
    after: Any
    breaks: bool = False

    @property
    def decides(self) -> bool:
        """Whether it may change numbers; what is there for people does not."""
        return not self.field.startswith(_LABELS)

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.before)} → {_shown(self.after)}"


def changes(
    before: StudySpec, after: StudySpec, setting: Setting | None = None, seed: int | None = None
) -> list[Change]:
    """The fields that differ, in the file's order.

    Arguments:
        before, after: two files of one study.
        setting: what its rows hold for, if a driver has resolved it; then nothing in `after` may
            contradict it.
        seed: of its noise, if it has begun.
    """
    old, new = dict(_fields(before)), dict(_fields(after))
    fixed = {} if setting is None else dict(_held(setting))
    if seed is not None:
        fixed["search.seed"] = seed
    return [
        Change(name, old.get(name), new.get(name), _contradicts(name, new.get(name), fixed, after))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _fields(spec: StudySpec) -> Iterator[tuple[str, Any]]:
    told = spec.model_dump(mode="json", exclude_none=True, exclude={"name"})
    told["model"].setdefault("name", spec.name)
    if told["sampler"].get("guidance") == 1:  # which is none
        del told["sampler"]["guidance"]
    yield from _flat(told)


def _flat(told: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _held(setting: Setting) -> Iterator[tuple[str, Any]]:
    yield "model.name", setting.model
    yield "model.framework", setting.framework
    yield "sampler.name", setting.sampler
    yield "sampler.steps", setting.steps
    yield "sampler.guidance", setting.guidance
    yield "sampler.site", setting.site
    yield "metric.name", setting.metric
    for name, value in setting.options.told().items():
        yield f"sampler.{name}", value


def _contradicts(name: str, value: Any, fixed: Mapping[str, Any], spec: StudySpec) -> bool:
    if name not in fixed or value == fixed[name]:
        return False
    if name == "sampler.guidance":
        return True
    # what is left open may resolve to the same, and a grid may decide the number of steps
    return value is not None and not (name == "sampler.steps" and spec.sampler.grid is not None)


def _shown(value: Any) -> str:
    if value is None:
        return "open"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)

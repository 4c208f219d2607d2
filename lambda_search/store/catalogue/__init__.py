"""The catalogue: schedules that were published, each with its source.

They become rows of `ls_schedule` (status `published`) when a store is opened that lacks them; they
are not merged in at each lookup. So every reader, SQL included, sees one table in which they are
ranked, listed and taken back like any other row; a row that is there is never written again,
whatever its status, and a later release only adds. The unique column `entry` holds a row's name,
so two processes that open a new store at once cannot both add it. Opening costs one short query.
Where no store has been made yet, the lookup asks a new one in memory, and the answer is the same.

What a source does not say is not filled in: no intervals, no corrected gain, and "unknown" for
the weights' hash. The metric's names have no fingerprint, so they never equal a measured row's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting

__all__ = ["UNKNOWN", "VERDICT", "Entry", "entries"]

UNKNOWN = "unknown"
VERDICT = "published by the authors; not measured here"


@dataclass(frozen=True)
class Entry:
    """A published schedule.

    Arguments:
        setting: what it was published for; hashes are `UNKNOWN`.
        schedule: λ(i) = b + k·i.
        fid, baseline_fid: as published, at λ and at λ = 1.
        samples: images behind each FID.
        dataset: what the model was trained on.
        source: paper, arXiv number, address and table.
    """

    setting: Setting
    schedule: LambdaSchedule
    fid: float
    baseline_fid: float
    samples: int
    dataset: str
    source: dict[str, str]

    @property
    def name(self) -> str:
        """Unique and lasting: an entry with other values has another name."""
        setting, schedule = self.setting, self.schedule
        return (
            f"{setting.model}/{setting.sampler}-{setting.steps}/b={schedule.b!r},k={schedule.k!r}"
        )


@cache
def entries() -> tuple[Entry, ...]:
    """All published schedules, in the order of the file."""
    text = resources.files(__name__).joinpath("published.yaml").read_text(encoding="utf-8")
    models: dict[str, dict[str, Any]] = yaml.safe_load(text)["models"]
    return tuple(entry for name, model in models.items() for entry in _of(name, model))


def _of(name: str, model: dict[str, Any]) -> Iterator[Entry]:
    for row in model["rows"]:
        setting = Setting(
            model=name,
            weights=UNKNOWN,
            framework=model["framework"],
            definition=UNKNOWN,
            sampler=row["sampler"],
            options=SamplerOptions(**model["options"]),
            steps=row["steps"],
            extractor=model["extractor"],
            reference=model["reference"],
        )
        schedule = LambdaSchedule(float(row["b"]), float(row.get("k", 0)))
        yield Entry(
            setting,
            schedule,
            row["fid"],
            row["baseline_fid"],
            model["samples"],
            model["dataset"],
            model["source"],
        )

"""What is known of a model in a few words, for lists."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from lambda_search.records.row_parts import RowStatus

__all__ = ["ModelFacts", "ModelSummary"]


@dataclass(frozen=True)
class ModelSummary:
    """A model with rows that stand.

    Arguments:
        name: in the lookup table.
        rows: how many of its rows stand.
        steps: the solver steps that they are for, rising.
        samplers: that they are for.
        status: the best that one of them has.
        weights: SHA-256 of its weights, of each that is known.
        hub, file: where they came from, of each that is known.
        dataset: what it was trained on, where that is known.
    """

    name: str
    rows: int
    steps: tuple[int, ...]
    samplers: tuple[str, ...]
    status: RowStatus
    weights: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model whatever rows it has; of each weights under its name.

    Arguments:
        name: in the lookup table.
        frameworks: how the weights are read.
        weights: SHA-256 of its weights, where it is known.
        hub, file: where they came from.
        dataset: what it was trained on.
    """

    name: str
    frameworks: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()

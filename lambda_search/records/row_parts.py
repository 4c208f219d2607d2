"""What a row of the lookup table has besides its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from typing import NamedTuple
from typing import TypeAlias

__all__ = ["Arrival", "NoiseLevel", "Origins", "Retraction", "RowStatus"]

RowStatus: TypeAlias = Literal["confirmed", "published", "measured"]


class NoiseLevel(NamedTuple):
    """Where a step calls the network.

    Arguments:
        timestep: what the network is told there: a timestep, or σ itself.
        sigma: σ/α > 0 of the state x = α·x0 + σ·ε; None where α is 0.
    """

    timestep: float
    sigma: float | None


@dataclass(frozen=True)
class Origins:
    """Where a model came from, as far as it is known.

    Arguments:
        dataset: what it was trained on, for people.
        hub, revision: owner/repository on a hub, and the commit.
        file: the name of its file or folder.
    """

    dataset: str | None = None
    hub: str | None = None
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Arrival:
    """How a row came into a store in which it was not measured.

    Arguments:
        source: the file or address that it was imported from.
        at: UTC.
    """

    source: str
    at: datetime


@dataclass(frozen=True)
class Retraction:
    """A row taken back: it no longer answers, and stays in the record.

    Arguments:
        reason: why.
        at: UTC.
    """

    reason: str
    at: datetime

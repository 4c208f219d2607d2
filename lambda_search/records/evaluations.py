"""Schedules that were scored, and what several scores of one say together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Literal
from typing import TypeAlias

__all__ = ["Evaluation", "Phase", "steps_of"]

Phase: TypeAlias = Literal["search", "confirm"]


@dataclass(frozen=True)
class Terms:
    """What a confirmation commits itself to before it sees anything: they decide its intervals.

    Arguments:
        samples: the most images.
        precision: the half-width asked for, as a share of FID(λ = 1); None for one look.
        candidates: how many are compared with λ = 1; where they are compared with each other too,
            that many more.
    """

    samples: int
    precision: float | None
    candidates: int


@dataclass(frozen=True)
class Evaluation:
    """One schedule scored on n images from index `first` on, beside another on the same noise.

    Arguments:
        trial: its number.
        phase: `search` or `confirm`.
        first, n: which sample indices.
        fid, corrected: plain, and with the half-split correction.
        standard_error: of `fid`.
        gain, raw_gain: FID(1) − FID(λ), corrected and plain.
        gain_standard_error: of `gain`, with that of `through`.
        through: the trial that it was compared with: λ = 1, number 0, where that was on these
            images. Else the gain is that one's, as it was known then, and the paired difference.
        correlation: of its features and those that they are paired with.
        fingerprint: names the features behind it.
        picture: a PNG of its first images, if they were sampled for it. The store keeps it among
            its images, under the fingerprint, and does not hand it back here.
        terms: of the confirmation that it belongs to; an earlier release kept none.
    """

    trial: int
    phase: Phase
    first: int
    n: int
    fid: float
    corrected: float
    standard_error: float
    gain: float
    raw_gain: float
    gain_standard_error: float
    correlation: float
    fingerprint: str
    picture: bytes | None = field(default=None, repr=False, compare=False)
    terms: Terms | None = None
    through: int = 0

    @property
    def is_copy(self) -> bool:
        """Whether it tells nothing new of the gain: that of a trial compared with itself."""
        return self.trial == self.through != 0

    def beside(self, other: Evaluation) -> Evaluation:
        """The same, where its gain is one over a trial that `other` tells of."""
        return replace(
            self,
            gain=other.gain + self.gain,
            raw_gain=other.raw_gain + self.raw_gain,
            gain_standard_error=math.hypot(other.gain_standard_error, self.gain_standard_error),
            through=other.trial,
        )


def steps_of(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """What the search knew of one trial after each of its evaluations, in their order.

    Those on blocks of images apart (rounds) are taken together, weighted by their images; of
    those on prefixes of one block (rungs), the last holds. Copies say nothing.
    """
    blocks: dict[int, Evaluation] = {}
    found = []
    for one in evaluations:
        if one.phase == "search" and not one.is_copy:
            blocks[one.first] = one
            found.append(_together([*blocks.values()]))
    return found


def _together(blocks: Sequence[Evaluation]) -> Evaluation:
    """Evaluations on indices apart as one.

    Errors beside λ = 1 are independent; those of gains through other trials have these trials'
    own errors in them, maybe one and the same, and are taken to add up.
    """
    last, n = blocks[-1], sum(one.n for one in blocks)
    if len(blocks) == 1:
        return last

    def mean(name: str) -> float:
        return sum(float(getattr(one, name)) * one.n for one in blocks) / n

    direct = [one.gain_standard_error * one.n for one in blocks if not one.through]
    others = [one.gain_standard_error * one.n for one in blocks if one.through]
    return replace(
        last,
        first=blocks[0].first,
        n=n,
        fid=mean("fid"),
        corrected=mean("corrected"),
        standard_error=math.hypot(*(one.standard_error * one.n for one in blocks)) / n,
        gain=mean("gain"),
        raw_gain=mean("raw_gain"),
        gain_standard_error=(math.hypot(*direct) + sum(others)) / n,
        correlation=mean("correlation"),
    )

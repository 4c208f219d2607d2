"""One number for the programs that take no schedule, and whether their fields hold it.

ComfyUI's node "Epsilon Scaling", reForge's and Forge's options divide x − x0 by one constant after
guidance, at every call of the network: with k = 0 exactly what a row measured. Of a row with k ≠ 0
the mean λ̄ is left, and nobody measured that; a row with k = 0 of the same setting is better.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambda_search.records import Row

__all__ = ["FIELDS", "Constant", "NumberField", "constant_of"]

_DIGITS = 6


@dataclass(frozen=True)
class NumberField:
    """Where a user types the constant.

    Arguments:
        program: whose it is.
        name: what it is called there.
        low, high, step: what it takes.
    """

    program: str
    name: str
    low: float
    high: float
    step: float

    def nearest(self, value: float) -> float:
        """What it takes that lies nearest to `value`."""
        rounded = self.low + round((value - self.low) / self.step) * self.step
        return round(min(max(rounded, self.low), self.high), _DIGITS)

    def complaint(self, value: float) -> str:
        """Why it does not hold `value`; "" if it does."""
        nearest = self.nearest(value)
        if not self.low <= value <= self.high:
            return (
                f"its limits are {self.low:g} and {self.high:g}: do not take {nearest:g} instead"
            )
        if abs(nearest - value) > 10**-_DIGITS / 2:
            return f"it takes steps of {self.step:g}: {nearest:g} is the nearest, not measured"
        return ""


FIELDS = (
    NumberField("ComfyUI", "scaling_factor of the node Epsilon Scaling", 0.5, 1.5, 0.001),
    NumberField("Forge", "eps_scaling_factor", 1.0, 1.05, 0.005),
    NumberField("reForge", "Epsilon Scaling", 0.5, 1.5, 0.001),
)


@dataclass(frozen=True)
class Constant:
    """A row in one number.

    Arguments:
        value: λ, or the mean of λ(i).
        evidence: `confirmed`, `published` or `measured`; "not measured" of a mean.
        row: the start of the id of another row that has it.
    """

    value: float
    evidence: str
    row: str = ""


def constant_of(row: Row, beside: Row | None = None) -> Constant:
    """The constant that is left of a row, or that of the row with k = 0 `beside` it."""
    if row.schedule.k != 0 and beside is not None:
        return Constant(round(beside.schedule.b, _DIGITS), beside.status, beside.id[:12])
    value = round(row.schedule.mean(len(row.lambdas)), _DIGITS)
    return Constant(value, row.status if row.schedule.k == 0 else "not measured")

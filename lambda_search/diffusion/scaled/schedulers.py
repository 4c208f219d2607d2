"""Schedulers of diffusers that divide their network's ε by λ(i).

A scheduler is dressed: its class becomes one derived from it, of the same name, whose methods
scale what the network said before they go on as ever. Nothing is kept in the instance that is
bound to it, so that every copy that a pipeline makes is dressed too, by `copy` or out of
`__dict__`; all of them share one `Scaling`, which ends the work of all.

Where the network or the state is in half precision, in which ε/1.002 is ε, a step with λ is done
in float32 and its result given in the wider of their precisions. The noise that it draws is that
of λ = 1, up to rounding.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import cache
from functools import wraps
from typing import Any
from typing import TypeAlias
from typing import cast

import torch
from torch import Tensor

from lambda_search.diffusion.scaled.classes import reading_of
from lambda_search.diffusion.scaled.formula import Call
from lambda_search.diffusion.scaled.formula import scaled_output
from lambda_search.diffusion.scaled.formula import scaled_x0
from lambda_search.diffusion.scaled.ladder import Ladder
from lambda_search.diffusion.scaled.readings import Reading
from lambda_search.errors import EpsilonScalingWarning
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule

__all__ = ["Scaling", "dress", "scaling_of", "undress"]

_SCALING, _LADDER, _PLAIN = "_epsilon_scaling", "_epsilon_ladder", "_plain_class"
_X0 = "pred_original_sample"
_HALF = (torch.float16, torch.bfloat16)
_Scale: TypeAlias = Callable[[Tensor, Tensor, float, Call], Tensor]
_FLOW = (
    "{} samples a flow: λ divides its ε = x + (1 − σ)·v, not its velocity v, and does the more "
    "the nearer σ is to 1. A λ found by dividing velocities means something else."
)


class Scaling:
    """What a dressed scheduler and its copies share.

    Arguments:
        schedule: λ(i).
    """

    given = True
    """Whether λ was given, for whatever grid, rather than chosen for each."""

    def __init__(self, schedule: LambdaSchedule) -> None:
        self.schedule = schedule
        self.active = True
        self._said: set[str] = set()

    def __deepcopy__(self, memo: object) -> Scaling:
        return self

    def settle(self, scheduler: Any, levels: Sequence[float]) -> None:
        """Told of a new grid, before λ is asked for its levels; a subclass may choose λ here."""

    def suits(self, state: Tensor) -> bool:
        """Whether λ is for states of this size; if not, the step is done with λ = 1."""
        return True

    def warn(self, text: str, stacklevel: int) -> None:
        """Says it, once, of the caller `stacklevel` frames up."""
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, EpsilonScalingWarning, stacklevel)


def scaling_of(scheduler: Any) -> Scaling | None:
    """What divides the scheduler's ε now, if anything does."""
    found: Scaling | None = getattr(scheduler, "__dict__", {}).get(_SCALING)
    return found if found is not None and found.active else None


def dress(scheduler: Any, scaling: Scaling, stacklevel: int = 3) -> None:
    """Has the scheduler divide ε by λ(i) from now on.

    Arguments:
        scheduler: of diffusers.
        scaling: λ(i).
        stacklevel: of whom a warning concerns, 3 being the caller.

    Raises:
        UsageError: for one that cannot be scaled, and one that is already.
    """
    undressed: type = vars(type(scheduler)).get(_PLAIN, type(scheduler))
    reading = reading_of(undressed)
    reading.check(scheduler)
    if (other := scaling_of(scheduler)) is not None:
        raise UsageError(
            f"The ε of this {undressed.__name__} is divided by λ(i) = {other.schedule} already.",
            "Leave that with block, or call remove() of what scale_epsilon returned.",
        )
    if reading.is_flow(scheduler):
        scaling.warn(_FLOW.format(undressed.__name__), stacklevel)
    undress(scheduler)
    vars(scheduler)[_SCALING] = scaling
    scheduler.__class__ = _dressed(undressed)


def undress(scheduler: Any) -> None:
    """Has the scheduler be what it was; nothing if it was not dressed."""
    for name in (_SCALING, _LADDER):
        vars(scheduler).pop(name, None)
    scheduler.__class__ = vars(type(scheduler)).get(_PLAIN, type(scheduler))


@cache
def _dressed(kind: type) -> type:
    """The class of dressed schedulers of class `kind`."""
    reading = reading_of(kind)
    methods = {name: _scaled(name, getattr(kind, name), reading) for name in reading.methods}
    members = {
        _PLAIN: kind,
        "set_timesteps": _checked(kind.set_timesteps, reading),  # type: ignore[attr-defined]
        "__reduce_ex__": lambda self, protocol: (_blank, (kind,), vars(self)),
        **{name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")},
    }
    return type(kind.__name__, (kind,), methods | members)


def _blank(kind: type) -> Any:
    """A dressed scheduler of class `kind` without its state, for copies."""
    return object.__new__(_dressed(kind))


def _ladder(scheduler: Any, reading: Reading, scaling: Scaling) -> Ladder:
    """λ of the levels of the grid that the scheduler has now.

    Raises:
        UsageError: if λ is not positive at one of them.
    """
    tables = [getattr(scheduler, name, None) for name in ("timesteps", "sigmas")]
    kept, ladder = vars(scheduler).get(_LADDER, ((None, None), None))
    if ladder is None or any(a is not b for a, b in zip(kept, tables, strict=True)):
        levels = reading.levels(scheduler)
        scaling.settle(scheduler, levels)
        ladder = Ladder(levels, scaling.schedule.values(len(levels)))
        vars(scheduler)[_LADDER] = tables, ladder
    return cast(Ladder, ladder)


def _checked(plain: Callable[..., Any], reading: Reading) -> Callable[..., Any]:
    """`set_timesteps` that refuses a λ that is not positive before the network is called."""

    @wraps(plain)
    def set_timesteps(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        result = plain(scheduler, *args, **kwargs)
        if (scaling := scaling_of(scheduler)) is not None:
            _ladder(scheduler, reading, scaling)
        return result

    return set_timesteps


def _scaled(name: str, plain: Callable[..., Any], reading: Reading) -> Callable[..., Any]:
    """The method `plain`, told the ε of the network divided by λ."""
    signature = inspect.signature(plain)
    said, level, state = reading.methods[name]

    @wraps(plain)
    def method(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        scaling = scaling_of(scheduler)
        if scaling is None or (ladder := _ladder(scheduler, reading, scaling)).is_identity:
            return plain(scheduler, *args, **kwargs)
        bound = signature.bind(scheduler, *args, **kwargs)
        told = bound.arguments
        if not scaling.suits(told[state]):
            return plain(scheduler, *args, **kwargs)
        for doubt in reading.doubts(scheduler, told):
            scaling.warn(doubt, stacklevel=3)
        precision = torch.promote_types(told[said].dtype, told[state].dtype)
        told |= {word: _widened(told.get(word)) for word in (said, state, _X0) if word in told}

        def divided(told: Mapping[str, Any], output: Tensor, x: Tensor, scale: _Scale) -> Tensor:
            at = reading.told(scheduler, told, level)
            value = ladder.at(reading.level(scheduler, at))
            return output if value == 1 else scale(output, x, value, reading.call(scheduler, at))

        if name.startswith("batch_"):  # each row at a level of its own
            rows = zip(told[level], told[said].split(1), told[state].split(1), strict=True)
            each = [divided(told | {level: t}, output, x, scaled_output) for t, output, x in rows]
            told[said] = torch.cat(each)
        else:
            told[said] = divided(told, told[said], told[state], scaled_output)
        if told.get(_X0) is not None:  # then it is this that counts
            told[_X0] = divided(told, told[_X0], told[state], scaled_x0)
        return _narrowed(plain(*bound.args, **bound.kwargs), precision)

    return method


def _widened(value: Any) -> Any:
    """In float32 what is in half precision."""
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


def _narrowed(result: Any, precision: torch.dtype) -> Any:
    """What a step returns, in half precision where that is the `precision` of its input."""
    if precision not in _HALF:
        return result
    if isinstance(result, Tensor):
        return result.to(precision)
    if isinstance(result, tuple):
        return tuple(_narrowed(part, precision) for part in result)
    if isinstance(result, Mapping):
        return type(result)(**{k: _narrowed(v, precision) for k, v in result.items()})
    return result

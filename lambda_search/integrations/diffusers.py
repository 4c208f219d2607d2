"""Epsilon Scaling where diffusers makes images.

    with ls.scale_epsilon(pipeline, schedule):
        images = pipeline(…).images

A pipeline is followed when its scheduler is replaced (`pipeline.scheduler = X.from_config(…)`): λ
goes over to the new one, with a warning, since a schedule belongs to the scheduler it was found
for. A scheduler that is handed over itself is scaled alone, wherever it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Any
from typing import Self

from diffusers import SchedulerMixin

from lambda_search.diffusion.scaled.schedulers import Scaling
from lambda_search.diffusion.scaled.schedulers import dress
from lambda_search.diffusion.scaled.schedulers import scaling_of
from lambda_search.diffusion.scaled.schedulers import undress
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule

if TYPE_CHECKING:
    from lambda_search.store.store import Store

__all__ = ["EpsilonScaling", "scale_epsilon"]

_KEPT = "_epsilon_scaling"


def scale_epsilon(
    pipeline_or_scheduler: Any,
    schedule: LambdaSchedule | None = None,
    *,
    store: Store | str | None = None,
    **setting: Any,
) -> EpsilonScaling:
    """Divides the noise ε that a pipeline's network predicts by λ(i), from now on.

    Without a schedule, λ is that of the row which the store has for the pipeline: for its weights
    (by the hash of its files, with which the tensors in memory are compared), its scheduler and
    that one's configuration, the number of steps, guidance and the size of its images. It is
    looked up whenever the steps are set. What was taken, or why λ stays 1, is said in one line on
    stderr. Prompts and precision are not compared.

    The index i of a call of the network is the rank of its noise level among the T′ distinct ones
    of the scheduler's whole grid, 0 = least noisy: an image-to-image run that starts in its middle
    does not shift it, and the second call of Heun's method has the index of its own level. Points
    between two levels (KDPM2) take λ from between, in log σ; at pure noise λ is 1. λ ≡ 1 changes
    no bit. Guidance has been applied before. What the network predicts does not matter: ε, v, x0
    or the velocity of a flow.

    Arguments:
        pipeline_or_scheduler: of diffusers.
        schedule: λ(i), positive at all levels of every grid that is set; None: the pipeline's own
            row.
        store: a store or its URL, for the row; by default the one of `LAMBDA_SEARCH_STORE`.
        setting: fields that the row's setting must have, as `best` takes them, and `guidance`
            where the pipeline does not tell its scale.

    Returns:
        What undoes it: `remove()`, or the end of a `with` block, also by an exception.

    Raises:
        UsageError: for a scheduler without an ε (the message says why), one that is scaled
            already, or a schedule that is no schedule. By the scheduler's `set_timesteps`: where λ
            is not positive on a grid, and where rows fit that cannot be ranked.

    Warns:
        EpsilonScalingWarning: once, where the scheduler clips or the target is a flow, so that λ
            means something else than in `lambda_search.sample`.
    """
    if schedule is None:
        return _own_row(pipeline_or_scheduler, store, setting)
    if setting or store is not None:
        named = ", ".join([*(["store"] if store is not None else []), *setting])
        raise UsageError(
            f"A schedule is given, and {named} beside it.", "Leave out one of the two."
        )
    if not isinstance(schedule, LambdaSchedule):
        raise UsageError(
            f"A {type(schedule).__name__} is no schedule.",
            "Pass lambda_search.LambdaSchedule(b, k), or the schedule of a row.",
        )
    schedule.values(1)
    scaling = Scaling(schedule)
    if isinstance(pipeline_or_scheduler, SchedulerMixin):
        return EpsilonScaling(pipeline_or_scheduler, scaling)
    scheduler = _scheduler_of(pipeline_or_scheduler)
    return EpsilonScaling(scheduler, scaling, pipeline_or_scheduler)


def _own_row(pipeline: Any, store: Store | str | None, asked: Mapping[str, Any]) -> EpsilonScaling:
    # a schedule alone needs neither the store nor the files of a pipeline
    from lambda_search.integrations.own_row import OwnRow

    if isinstance(pipeline, SchedulerMixin):
        raise UsageError(
            "A scheduler alone does not say whose weights it steps.",
            "Pass a pipeline, or a schedule too.",
        )
    scheduler = _scheduler_of(pipeline)
    return EpsilonScaling(scheduler, OwnRow(pipeline, store, asked), pipeline)


def _scheduler_of(pipeline: Any) -> Any:
    """The scheduler of a pipeline; UsageError if it has none by that name."""
    scheduler = getattr(pipeline, "scheduler", None)
    if not isinstance(scheduler, SchedulerMixin):
        parts = getattr(pipeline, "components", {})
        found = [f".{name}" for name, part in parts.items() if isinstance(part, SchedulerMixin)]
        raise UsageError(
            f"{type(pipeline).__name__} has no scheduler of diffusers as .scheduler.",
            f"Pass its {' or its '.join(found)}." if found else "Pass a pipeline or a scheduler.",
        )
    return scheduler


class EpsilonScaling:
    """λ at work, until `remove()` or the end of a `with` block; see `scale_epsilon`.

    Arguments:
        scheduler: of diffusers.
        scaling: what it shares with its copies.
        pipeline: whose scheduler it is, to be followed, or None.
    """

    def __init__(self, scheduler: Any, scaling: Scaling, pipeline: Any = None) -> None:
        self._scaling = scaling
        self._scheduler, self._pipeline = scheduler, pipeline
        dress(scheduler, self._scaling, stacklevel=5)
        if pipeline is not None:
            kind: type = type(pipeline)
            vars(pipeline)[_KEPT] = self
            pipeline.__class__ = _followed(kind)

    @property
    def schedule(self) -> LambdaSchedule:
        """λ(i); of a pipeline's own row, that of the steps that were set last."""
        return self._scaling.schedule

    @property
    def active(self) -> bool:
        """Whether it is at work."""
        return self._scaling.active

    def remove(self) -> None:
        """Leaves pipeline and scheduler as they were; every copy of them samples with λ = 1."""
        if self._scaling.active:
            self._scaling.active = False
            undress(self._scheduler)
            if self._pipeline is not None:
                del vars(self._pipeline)[_KEPT]
                self._pipeline.__class__ = type(self._pipeline).__base__

    def __enter__(self) -> Self:
        if not self.active:
            raise UsageError(
                "This scaling of ε has been removed.", "Call scale_epsilon again for another."
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _follow(self, scheduler: Any) -> None:
        """Goes over to the pipeline's next scheduler.

        Raises:
            UsageError: as in `scale_epsilon`; nothing is changed then.
        """
        before = self._scheduler
        if not self.active or scheduler is before:
            return
        if scaling_of(scheduler) is not self._scaling:  # as a copy's is
            dress(scheduler, self._scaling, stacklevel=5)
            undress(before)
            if self._scaling.given:
                self._scaling.warn(
                    f"The pipeline's scheduler is a {type(scheduler).__name__} now, and its ε is "
                    f"divided by λ(i) = {self.schedule}, which was given for the "
                    f"{type(before).__name__} before.",
                    stacklevel=4,
                )
        self._scheduler = scheduler


@cache
def _followed(kind: type) -> type:
    """The class of pipelines of class `kind` whose λ follows their scheduler."""
    plain: Any = kind

    def __setattr__(pipeline: Any, name: str, value: Any) -> None:
        if name == "scheduler" and _KEPT in vars(pipeline):
            vars(pipeline)[_KEPT]._follow(value)
        plain.__setattr__(pipeline, name, value)

    names = "__module__", "__qualname__", "__doc__"
    members = {name: getattr(kind, name) for name in names}
    return type(kind.__name__, (kind,), members | {"__setattr__": __setattr__})

"""The row that is for a pipeline as it samples now: its weights, scheduler, steps and guidance.

What cannot be seen is told and not compared: prompts and precision. Where anything else differs,
λ stays 1, and one line says why.
"""

from __future__ import annotations

import inspect
import itertools
import math
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lambda_search.diffusion.scaled.schedulers import Scaling
from lambda_search.errors import NoScheduleFound
from lambda_search.integrations.loaded import Loaded
from lambda_search.integrations.loaded import OtherWeights
from lambda_search.integrations.loaded import loaded
from lambda_search.models.diffusers.files import plain
from lambda_search.records import Row
from lambda_search.schedule import LambdaSchedule
from lambda_search.store.lookup import matches
from lambda_search.store.lookup import preferred
from lambda_search.store.opened import asking

__all__ = ["OwnRow", "misfit"]

_CLASSES = {
    "ancestral": ("DDPMScheduler", "DDPMParallelScheduler"),
    "ddim": ("DDIMScheduler", "DDIMParallelScheduler"),
    "euler": ("EulerDiscreteScheduler",),
}
"""Schedulers of diffusers that take the steps of our own samplers."""
_VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned"}
_SAME = 1e-3
"""Relative difference of σ/α up to which two levels are one."""


class OwnRow(Scaling):
    """λ of the row that a store has for a pipeline, looked up anew for every grid.

    Arguments:
        pipeline: of diffusers.
        store: a store or its URL; None: the default one.
        asked: further fields that the row's setting must have, as for `lookup.best`.
    """

    given = False

    def __init__(self, pipeline: Any, store: Any, asked: Mapping[str, Any]) -> None:
        super().__init__(LambdaSchedule())
        self._pipeline, self._store, self._asked = pipeline, store, dict(asked)
        self.row: Row | None = None

    def settle(self, scheduler: Any, levels: Sequence[float]) -> None:
        self.row, why = None, ""
        try:
            weights = loaded(self._pipeline)
            self.row, why = self._found(weights, scheduler, levels)
        except OtherWeights as error:
            why = str(error)
        self.schedule = LambdaSchedule() if self.row is None else self.row.schedule
        if self.row is None:
            self._say(f"λ stays 1: {why}.")
        else:
            self._say(_taken(self.row))

    def suits(self, state: Tensor) -> bool:
        """Whether a state has the size of the row's images."""
        if self.row is None:
            return True
        own = self._size(self.row)
        found = tuple(state.shape[-2:])
        if own is None or found == own:
            return True
        self._say(
            f"λ stays 1: row {self.row.id[:12]} was measured on states of {own[1]} × {own[0]}, "
            f"and these have {found[1]} × {found[0]}."
        )
        return False

    def _found(
        self, weights: Loaded, scheduler: Any, levels: Sequence[float]
    ) -> tuple[Row | None, str]:
        """The row, or why there is none.

        Raises:
            UsageError: if rows fit that cannot be ranked.
        """
        guidance = self._guidance()
        asked = self._asked | {"weights": weights.digest, "guidance": guidance or 1}
        with asking(self._store) as store:
            names = store.models_of(weights.digest)
            if not names:
                return None, f"no row is for these weights ({weights.digest[:12]})"
            rows: list[Row] = []
            near: list[str] = []
            for name in names:
                try:
                    rows += matches(name, len(levels), store=store, **asked)
                except NoScheduleFound as error:
                    near.append(error.cause)
        reasons = [(row, misfit(row, scheduler, levels)) for row in rows]
        fitting = [row for row, reason in reasons if reason is None]
        if fitting:
            return preferred(fitting), ""
        if reasons:
            row, reason = reasons[0]
            told = f"{row.setting.solver}, {row.setting.steps} steps, λ(i) = {row.schedule}"
            return None, f"{reason}; the nearest row is {row.id[:12]} ({told}, {row.status})"
        return None, " ".join(near).rstrip(".")

    def _guidance(self) -> float | None:
        """The scale that the pipeline guides with now, as far as it tells."""
        told = self._asked.get("guidance")
        if told is None:
            told = getattr(self._pipeline, "_guidance_scale", None)
        return None if told is None or told <= 1 else float(told)

    def _size(self, row: Row) -> tuple[int, int] | None:
        """(h, w) of the states that the row was measured on."""
        parts = (getattr(self._pipeline, part, None) for part in ("unet", "transformer"))
        network = next((part for part in parts if part is not None), None)
        own = None if network is None else network.config.sample_size
        if own is None:
            return None
        height, width = (own, own) if isinstance(own, int) else own
        config = row.provenance.config if isinstance(row.provenance.config, dict) else {}
        cells = getattr(self._pipeline, "vae_scale_factor", 1)
        sizes = (config.get("height"), height), (config.get("width"), width)
        rows, columns = (asked // cells if asked else usual for asked, usual in sizes)
        return rows, columns

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            print(f"scale_epsilon: {text}", file=sys.stderr)


def misfit(row: Row, scheduler: Any, levels: Sequence[float]) -> str | None:
    """Why a row is not for what a scheduler does on a grid; None if it is.

    Arguments:
        row: of the pipeline's weights.
        scheduler: with its grid set.
        levels: σ/α of the grid, least noisy first.
    """
    sampling, name = row.setting.sampling, type(scheduler).__name__
    if sampling.site != "full":
        return f"the row divides ε for {sampling.site} alone, which no pipeline does"
    if sampling.sampler == "scheduler":
        if name != sampling.options.class_:
            return f"the pipeline's scheduler is a {name}, the row's a {sampling.options.class_}"
        return _other_config(scheduler, sampling.options.config or {})
    known = _CLASSES.get(sampling.sampler, ())
    if name not in known:
        instead = f"; it takes a {known[0]}" if known else ""
        return f"the row is for the sampler {sampling.sampler}, not for a {name}{instead}"
    return _other_steps(row, scheduler, levels)


def _other_config(scheduler: Any, told: Mapping[str, Any]) -> str | None:
    fields = inspect.signature(type(scheduler).__init__).parameters
    found = plain(scheduler.config)
    for name, field in fields.items():
        if name == "variance_type" and not str(found.get(name)).startswith("learned"):
            if type(scheduler).__name__ not in _CLASSES["ancestral"]:
                continue  # handed on by the model's own scheduler, and not used
        if name in found and (name in told or field.default is not field.empty):
            value = told.get(name, plain({name: field.default})[name])
            if found[name] != value:
                return f"the scheduler's {name} is {found[name]}, the row's {value}"
    return None


def _other_steps(row: Row, scheduler: Any, levels: Sequence[float]) -> str | None:
    options, config = row.setting.options, scheduler.config
    for own, there in zip(levels, row.levels, strict=False):
        sigma = math.inf if there.sigma is None else there.sigma
        if own != sigma and not abs(own - sigma) <= _SAME * sigma:
            return (
                f"the scheduler calls the network at other noise levels, σ = {own:.4g} where the "
                f"row has {sigma:.4g}"
            )
    if not row.levels:
        return "the row does not say at which noise levels it was measured"
    if row.setting.sampler == "euler":
        return None
    if config.get("clip_sample", False) != bool(options.clip):
        return (
            f"the scheduler's clip_sample is {config.get('clip_sample')}, the row's {options.clip}"
        )
    if row.setting.sampler == "ancestral":
        variance = str(config.get("variance_type")).removesuffix("_log")
        if _VARIANCES.get(variance) != options.variance:
            return f"the scheduler's variance is {variance}, the row's {options.variance}"
    if row.setting.sampler == "ddim":
        if options.eta or options.clip:
            return "a pipeline's DDIM does not step as the row's does with η or with clipping"
        times = [int(t) for t in scheduler.timesteps]
        step = config.num_train_timesteps // scheduler.num_inference_steps
        if any(a - step != b for a, b in itertools.pairwise(times)):
            return "a pipeline's DDIM does not step from each of these timesteps to the next"
    return None


def _taken(row: Row) -> str:
    """One line about the row that was taken."""
    gain = ""
    if row.gain is not None and row.gain_interval is not None:
        gain = f", gain {row.gain:.3g} [{row.gain_interval.low:.3g}, {row.gain_interval.high:.3g}]"
    return (
        f"row {row.id[:12]}, λ(i) = {row.schedule}, {row.status}: FID {row.baseline_fid:.4g} → "
        f"{row.fid:.4g}{gain}. Prompts and precision are not compared."
    )

"""What of ComfyUI takes the steps that a row was measured with: sampler, scheduler, steps, cfg.

A row's evidence holds for its sampler and its grid of σ. Equal in mathematics are, with x0 not
clipped: DDIM (η = 0) and `euler`; DDPM's ancestral steps with the small variance, DDIM with η = 1
and `euler_ancestral`; Heun and `heun`. Of diffusers' own schedulers, in their usual form, Euler's
and Heun's likewise, and DPM-Solver++ of order 2 (midpoint) and `dpmpp_2m`, its SDE and
`dpmpp_2m_sde`. A scheduler is the row's where all its σ are, to 10⁻³. The scale of the first state
is ComfyUI's own: σ, or √(1 + σ²) from the table's largest σ on.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from lambda_search.integrations.comfyui.schedules import SCHEDULERS
from lambda_search.integrations.comfyui.tables import PURE_NOISE
from lambda_search.integrations.comfyui.tables import NoiseTable
from lambda_search.integrations.comfyui.tables import table_of
from lambda_search.records import NoiseLevel
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting

__all__ = ["SAME", "Found", "Match", "match"]

SAME = 1e-3
"""Relative: σ nearer than that are one and the same."""

_LAST_STEP = (
    "where the model's scheduler has set_alpha_to_one: false, the row's last step stops at the "
    "noise of timestep 0, and ComfyUI's goes on to none"
)

_Walk: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Found:
    """One of ComfyUI's own words for what a row does, or why there is none.

    Arguments:
        word: None if there is none.
        why: then, the rest of a sentence that begins with "None:"; else "".
    """

    word: str | None
    why: str = ""


@dataclass(frozen=True)
class Match:
    """ComfyUI's settings that take a row's steps.

    Arguments:
        sampler: its sampler.
        nearest: that sampler, or where there is none the one that differs least.
        scheduler: its scheduler.
        steps: how many steps to ask that scheduler for; the row's own number without one.
        others: further schedulers, with their steps, whose σ are the same.
        cfg: its guidance scale; 1 is none.
        table: the noise table that the scheduler was asked of.
        known: whether the row's σ are known, which the node's output `sigmas` needs.
        remark: in what the steps may differ all the same; "" if in nothing.
    """

    sampler: Found
    nearest: str
    scheduler: Found
    steps: int
    others: tuple[_Walk, ...]
    cfg: float
    table: NoiseTable | None
    known: bool
    remark: str


def match(setting: Setting, levels: Sequence[NoiseLevel]) -> Match:
    """What of ComfyUI takes the steps of `setting`.

    Arguments:
        setting: of the row.
        levels: where its steps call the network, least noisy first; none if that is not known.
    """
    table = table_of(levels) if levels else None
    walks = [] if table is None else _walks(table, levels)
    if not levels:
        why = "its σ are not known"
    elif table is None:
        why = "its σ lie on the noise table of no model that ComfyUI knows"
    else:
        why = "no schedule of this model has its σ"
    (scheduler, steps), *others = walks or [("", setting.steps)]
    nearest, differs = _sampler(setting)
    return Match(
        sampler=Found(None, differs) if differs else Found(nearest),
        nearest=nearest,
        scheduler=Found(scheduler) if walks else Found(None, why),
        steps=steps,
        others=tuple(others),
        cfg=1.0 if setting.guidance is None else setting.guidance,
        table=table,
        known=bool(levels),
        remark=_remark(setting),
    )


def _remark(setting: Setting) -> str:
    """In what the steps may differ all the same, or do."""
    if (setting.framework, setting.solver) == ("diffusers", "ddim"):
        return _LAST_STEP
    told = setting.options.config or {}
    stops = setting.solver == "DDIMScheduler" and told.get("set_alpha_to_one") is False
    return _LAST_STEP if stops else ""


def _walks(table: NoiseTable, levels: Sequence[NoiseLevel]) -> list[_Walk]:
    """The schedulers, and the steps asked of them, that have exactly these levels."""
    wanted, count = [sigma for _, sigma in reversed(levels)], len(levels)
    found = []
    for name, scheduler in SCHEDULERS.items():
        for steps in (count, count - 1, count + 1):  # some take one step more or less
            if steps and _same(scheduler(table, steps), wanted):
                found.append((name, steps))
                break
    return found


def _same(sigmas: Sequence[float], wanted: Sequence[float | None]) -> bool:
    return len(sigmas) == len(wanted) and all(
        has > PURE_NOISE if wants is None else abs(has / wants - 1) <= SAME
        for has, wants in zip(sigmas, wanted, strict=True)
    )


def _sampler(setting: Setting) -> tuple[str, str]:
    """ComfyUI's sampler that differs least, and in what it differs; "" if in nothing."""
    if setting.sampler == "scheduler":
        return _of_class(setting.options)
    options, eta = setting.options, setting.options.eta or 0.0
    noisy = setting.sampler == "ancestral" or (setting.sampler == "ddim" and eta > 0)
    nearest = "euler_ancestral" if noisy else "heun" if setting.sampler == "heun" else "euler"
    differences = {
        "it clips x0 to [−1, 1]": bool(options.clip),
        f"its variance is the {options.variance} one": options.variance in ("learned", "large"),
        f"its η is {eta:g}": noisy and setting.sampler == "ddim" and eta != 1,
        "it churns": bool(options.s_churn),
        "a classifier guides it": bool(options.classifier_scale),
        "it guides three of its channels alone": setting.framework == "dit"
        and setting.guidance is not None,
        f"ComfyUI has no sampler like '{setting.sampler}'": setting.sampler
        not in ("ancestral", "ddim", "euler", "heun"),
    }
    return nearest, ", ".join(words for words, true in differences.items() if true)


_CLASSES: Mapping[str, tuple[str, Mapping[str, JsonValue]]] = {
    "DDIMScheduler": ("euler", {"clip_sample": True, "thresholding": False}),
    "DDPMScheduler": (
        "euler_ancestral",
        {"clip_sample": True, "thresholding": False, "variance_type": "fixed_small"},
    ),
    "EulerDiscreteScheduler": ("euler", {"final_sigmas_type": "zero"}),
    "EulerAncestralDiscreteScheduler": ("euler_ancestral", {}),
    "HeunDiscreteScheduler": ("heun", {"clip_sample": False}),
    "DPMSolverMultistepScheduler": (
        "dpmpp_2m",
        {
            "algorithm_type": "dpmsolver++",
            "solver_order": 2,
            "solver_type": "midpoint",
            "final_sigmas_type": "zero",
            "thresholding": False,
        },
    ),
}
"""Of diffusers: the sampler that does the same, and its config's defaults that decide it."""
_NEEDED: Mapping[str, JsonValue] = {"clip_sample": False}
"""What ComfyUI does, where that is not the default."""
_NOISY = {"euler": "euler_ancestral", "dpmpp_2m": "dpmpp_2m_sde"}


def _of_class(options: SamplerOptions) -> tuple[str, str]:
    """`_sampler` for a scheduler of diffusers."""
    name, told, eta = options.class_ or "", options.config or {}, options.eta or 0.0
    if name not in _CLASSES:
        return "euler", f"ComfyUI has no sampler that steps as {name} does"
    sampler, defaults = _CLASSES[name]
    has = {**defaults, **{key: told[key] for key in defaults if key in told}}
    noisy = eta > 0 or has.get("algorithm_type") == "sde-dpmsolver++"
    if noisy:
        sampler = _NOISY[sampler]
        has.pop("algorithm_type", None)
    differences = [
        f"its {key} is {value}"
        for key, value in has.items()
        if value != _NEEDED.get(key, defaults[key])
    ]
    if 0 < eta < 1:
        differences.append(f"its η is {eta:g}")
    return sampler, ", ".join(differences)

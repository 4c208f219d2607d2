# SPDX-License-Identifier: MIT
"""A node for ComfyUI: Epsilon Scaling with a λ that was measured for each noise level.

Epsilon Scaling divides a network's noise prediction by λ(σ). ComfyUI's x is x0 + σ·noise, so after
guidance the estimate D of x0 becomes

    D' = x − (x − D)/λ(σ) = D + (1 − 1/λ(σ))·(x − D),

and λ = 1 changes no bit. A table of λ was measured on one grid of σ. There λ(σ) is the table's;
between two of its σ λ is linear in log σ, and outside it is that of the nearest end. Where the
grid begins with pure noise, λ is 1 above its largest finite σ.
"""

from __future__ import annotations

import json
import logging
import math
from bisect import bisect_left
from pathlib import Path
from typing import Any

import torch

TABLES = Path(__file__).with_name("tables")
SAME = 1e-3  # relative: σ nearer than that are one and the same


class Table:
    """λ(σ) of a row of lambda_search.

    Arguments:
        path: the file that `lambda-search export --format comfyui` wrote.
    """

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.get("format") != "lambda_search.comfyui/1":
            raise ValueError(f"{path} is no table that this node reads.")
        known = [(one["sigma"], one["lambda"]) for one in told["levels"]]
        finite = sorted(one for one in known if one[0] is not None)
        self.title, self.use = told["title"], told["use"]
        self.sigmas: list[float] = [sigma for sigma, _ in finite]
        self.lambdas: list[float] = [value for _, value in finite]
        self.from_pure_noise = len(finite) < len(known)

    def at(self, sigma: float) -> float:
        """λ at σ ≥ 0."""
        place = bisect_left(self.sigmas, sigma)
        beside = range(max(place - 1, 0), min(place + 1, len(self.sigmas)))
        near = min(beside, key=lambda i: abs(sigma - self.sigmas[i]))
        if _same(sigma, self.sigmas[near]):
            return self.lambdas[near]
        if place == len(self.sigmas):
            return 1.0 if self.from_pure_noise else self.lambdas[-1]
        if place == 0:
            return self.lambdas[0]
        low, high = self.sigmas[place - 1], self.sigmas[place]
        share = math.log(sigma / low) / math.log(high / low)
        return self.lambdas[place - 1] + share * (self.lambdas[place] - self.lambdas[place - 1])

    def has_grid(self, sigmas: list[float]) -> bool:
        """Whether the σ of a run, falling, are the table's or a stretch of them."""
        own = self.sigmas[::-1]
        walked = sigmas[:-1] if sigmas and sigmas[-1] == 0 else sigmas
        if walked and self.from_pure_noise and walked[0] > own[0] * (1 + SAME):
            if len(walked) > 1 and not _same(walked[1], own[0]):
                return False
            walked = walked[1:]
        return any(
            all(_same(*pair) for pair in zip(walked, own[first:], strict=False))
            for first in range(len(own) - len(walked) + 1)
        )

    def grid(self, highest: float) -> list[float]:
        """The table's σ, falling, with 0 at the end.

        Arguments:
            highest: σ of the model that stands for pure noise.
        """
        return [highest] * self.from_pure_noise + self.sigmas[::-1] + [0.0]


class EpsilonScalingTable:
    """Divides the predicted noise by the measured λ(σ)."""

    DESCRIPTION = (
        "Epsilon Scaling (arXiv:2308.15321) with the λ that was measured at each noise level. "
        "The evidence holds for one sampler and one grid of σ: the output sigmas is that grid."
    )
    CATEGORY = "model_patches/unet"
    FUNCTION = "patch"
    RETURN_TYPES = ("MODEL", "SIGMAS")
    RETURN_NAMES = ("model", "sigmas")
    OUTPUT_TOOLTIPS = ("The model with λ(σ).", "The grid of σ that λ was measured on.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = sorted(path.stem for path in TABLES.glob("*.json"))
        return {
            "required": {
                "model": ("MODEL",),
                "table": (names, {"tooltip": "A row of lambda_search; its .md tells of it."}),
            }
        }

    def patch(self, model: Any, table: str) -> tuple[Any, torch.Tensor]:
        sampling = model.get_model_object("model_sampling")
        _refuse_other_spaces(sampling)
        used = Table(TABLES / f"{table}.json")
        warned: set[tuple[float, ...]] = set()

        def scale(args: dict[str, Any]) -> torch.Tensor:
            x: torch.Tensor = args["input"]
            denoised: torch.Tensor = args["denoised"]
            options = args["model_options"].get("transformer_options", {})
            _warn_once(used, options.get("sample_sigmas"), warned)
            kept = [1 - 1 / used.at(sigma) for sigma in args["sigma"].flatten().tolist()]
            if not any(kept):
                return denoised
            if len(set(kept)) == 1:
                return denoised + kept[0] * (x - denoised)
            share = x.new_tensor(kept).reshape(-1, *[1] * (x.ndim - 1))
            return denoised + share * (x - denoised)

        patched = model.clone()
        patched.set_model_sampler_post_cfg_function(scale)
        return patched, torch.tensor(used.grid(float(sampling.sigma_max)))


def _same(sigma: float, other: float) -> bool:
    return abs(sigma - other) <= SAME * other


def _refuse_other_spaces(sampling: Any) -> None:
    """Raises ValueError for a model whose x is not x0 + σ·noise."""
    kinds = {kind.__name__ for kind in type(sampling).__mro__}
    if "CONST" in kinds:
        raise ValueError(
            "This is a flow model. There the same formula divides the velocity by λ, which is not "
            "Epsilon Scaling, and no λ of this table was measured for it. Leave the node out."
        )
    if not kinds & {"EPS", "COSMOS_RFLOW"} or "IMG_TO_IMG" in kinds:
        raise ValueError(
            f"The model samples with {type(sampling).__name__}, and whether its x is "
            "x0 + σ·noise is not known. Leave the node out."
        )


def _warn_once(table: Table, sigmas: torch.Tensor | None, warned: set[tuple[float, ...]]) -> None:
    """Says in ComfyUI's log, once for a grid, that λ was not measured on it."""
    walked = None if sigmas is None else tuple(sigmas.flatten().tolist())
    if walked is None or walked in warned:
        return
    warned.add(walked)
    if not table.has_grid(list(walked)):
        logging.warning(
            "lambda_search: this run walks other σ than %s was measured on. "
            "Between them λ is interpolated, and nobody measured that. %s",
            table.title,
            table.use,
        )


NODE_CLASS_MAPPINGS = {"LambdaSearchEpsilonScaling": EpsilonScalingTable}
NODE_DISPLAY_NAME_MAPPINGS = {"LambdaSearchEpsilonScaling": "Epsilon Scaling λ(σ)"}

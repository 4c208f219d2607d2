"""What a study file says of the sampler."""

from __future__ import annotations

from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling

__all__ = ["MOST_STEPS", "SamplerSpec"]

MOST_STEPS = 100_000
"""T′ at most, and of the model's own samples that images are compared with."""


class SamplerSpec(SamplerOptions):
    """Which sampler, how many solver steps, and its options.

    Arguments:
        name: `ancestral`, `ddim`, `euler`, `heun`, or `scheduler` with a `class` of diffusers'.
        steps: T′ ≥ 1.
        guidance: classifier-free guidance scale.
        site: where λ acts.
    """

    name: Literal["ancestral", "ddim", "euler", "heun", "scheduler"]
    steps: int = Field(ge=1, le=MOST_STEPS, strict=True)
    guidance: float | None = None
    site: Literal["full", "x0_only"] = "full"

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        """Options may also stand under `options`, as the Python functions have them."""
        if isinstance(value, dict) and isinstance(value.get("options"), dict):
            rest = {name: item for name, item in value.items() if name != "options"}
            return rest | value["options"]
        return value

    @property
    def options(self) -> SamplerOptions:
        """The options alone."""
        return SamplerOptions(**self.told())

    @property
    def sampling(self) -> Sampling:
        """All of it as one value; what is open is open there too."""
        return Sampling(
            sampler=self.name,
            steps=self.steps,
            options=self.options,
            guidance=self.guidance,
            site=self.site,
        )

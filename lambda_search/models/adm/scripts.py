"""What the scripts' flags of ADM's networks and of its classifier have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from typing import Any

from pydantic import BeforeValidator
from pydantic import Field

__all__ = ["TRAINING", "Factors", "Sizes", "downsampling", "multipliers"]

TRAINING = frozenset(
    "dropout use_fp16 use_kl use_checkpoint rescale_learned_sigmas data_dir schedule_sampler lr "
    "weight_decay lr_anneal_steps microbatch ema_rate log_interval save_interval "
    "resume_checkpoint fp16_scale_growth input_pertub".split()
)
"""Flags of the training; those that the checkpoint's arithmetic knows too act in training only."""

_MULTIPLIERS = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
"""channel_mult by image_size, where the flag is empty."""


def _listed(value: Any) -> Any:
    """The scripts' "32,16,8", or a number, as a list."""
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=64), BeforeValidator(_listed)
]
Factors = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1024)], ...],
    Field(max_length=12),
    BeforeValidator(_listed),
]


def downsampling(image_size: int, resolutions: Iterable[int]) -> list[int]:
    """Factors at which maps have the given heights."""
    return sorted({image_size // resolution for resolution in resolutions})


def multipliers(image_size: int, given: tuple[float, ...]) -> list[float]:
    """channel_mult, by image_size if `given` is empty; ValueError if the image does not halve."""
    found = given or _MULTIPLIERS.get(image_size, ())
    if not found:
        sizes = ", ".join(str(size) for size in sorted(_MULTIPLIERS))
        raise ValueError(f"channel_mult must be given, its defaults are for image_size {sizes}")
    if image_size % 2 ** (len(found) - 1):
        raise ValueError(
            f"image_size {image_size} cannot be halved {len(found) - 1} times, "
            "as channel_mult asks"
        )
    return [float(multiplier) for multiplier in found]

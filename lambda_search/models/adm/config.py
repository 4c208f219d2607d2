"""The flags of guided-diffusion's scripts: what an ADM checkpoint itself does not say.

Names and defaults are those of openai/guided-diffusion and forever208/ADM-ES (`script_util.py`,
`image_sample.py`, `classifier_sample.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from typing import Any
from typing import Literal
from typing import Self

from pydantic import BeforeValidator
from pydantic import Field
from pydantic import model_validator

from lambda_search.diffusion.samplers import Variance
from lambda_search.errors import UsageError
from lambda_search.models.adm.classifier import CLASSIFIER_FLAGS
from lambda_search.models.adm.presets import PRESETS
from lambda_search.models.adm.scripts import TRAINING
from lambda_search.models.adm.scripts import Factors
from lambda_search.models.adm.scripts import Sizes
from lambda_search.models.adm.scripts import downsampling
from lambda_search.models.adm.scripts import multipliers
from lambda_search.models.inputs import refuse_misspelt
from lambda_search.models.inputs import validated
from lambda_search.models.sizes import Channels
from lambda_search.models.sizes import Classes
from lambda_search.models.sizes import Pixels
from lambda_search.models.sizes import Timesteps
from lambda_search.models.sizes import check_parts
from lambda_search.setting import FrozenModel

__all__ = ["ADMFlags", "read_flags"]

_ASKED_ELSEWHERE = frozenset(
    "batch_size num_samples use_ddim model_path classifier_path eps_scaler".split()
)
"""Flags of the sampling scripts that are a study's business, not the model's."""

_GUIDED = frozenset(
    "channel_mult num_head_channels resblock_updown use_fp16 use_new_attention_order "
    "classifier input_pertub eps_scaler preset".split()
)
"""Flags that guided-diffusion and what came from it have, and improved-diffusion does not."""


class ADMFlags(FrozenModel):
    """The flags that matter for sampling, with the scripts' defaults.

    Arguments:
        attention_resolutions: heights of the maps that attention works on.
        channel_mult: by image_size if empty.
        num_classes: with class_cond, 1000 unless given (a constant in the scripts).
        rescale_timesteps: whether the network is told timesteps out of 1000, whatever
            diffusion_steps is. improved-diffusion's scripts do so by default, guided-diffusion's
            do not; where the flag is not given, `read_flags` tells them apart.
        in_channels: of the images; those of the weights unless given.
        timestep_respacing: the default step grid, a respacing word or empty.
        sigma_small: the fixed variance of networks without learn_sigma: small, else large.
        clip_denoised, classifier_scale: the defaults of the options clip and classifier_scale.
    """

    image_size: Pixels = 64
    in_channels: Channels | None = None
    out_channels: Channels | None = None
    num_channels: Channels = 128
    num_res_blocks: int = Field(default=2, ge=1)
    num_heads: int = 4
    num_heads_upsample: int = -1
    num_head_channels: int = -1
    attention_resolutions: Sizes = (16, 8)
    channel_mult: Factors = ()
    class_cond: bool = False
    num_classes: Classes | None = None
    use_scale_shift_norm: bool = True
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    learn_sigma: bool = False
    diffusion_steps: Timesteps = 1000
    noise_schedule: Literal["linear", "cosine"] = "linear"
    timestep_respacing: Annotated[str, BeforeValidator(str)] = ""
    predict_xstart: bool = False
    rescale_timesteps: bool = False
    sigma_small: bool = False
    clip_denoised: bool = True
    classifier_scale: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        levels = multipliers(self.image_size, self.channel_mult)
        check_parts(len(levels), self.num_res_blocks)
        return self

    @property
    def variance(self) -> Variance:
        """The default of the option variance."""
        fixed: Variance = "small" if self.sigma_small else "large"
        return "learned" if self.learn_sigma else fixed

    @property
    def classes(self) -> int:
        """How many there are, if images have classes."""
        return self.num_classes or 1000

    def grid(self, steps: int) -> str | None:
        """timestep_respacing, unless it names another number of steps than are asked for."""
        word = self.timestep_respacing
        names_steps = word.removeprefix("ddim") in ("", str(steps))
        return (word or None) if "," in word or names_steps else None

    def network(self, channels: int = 3) -> dict[str, Any]:
        """The arguments of `UNet` for images of `channels`.

        Raises:
            UsageError: for out_channels that do not belong to them.
        """
        outputs = channels * (1 + self.learn_sigma)
        if self.out_channels not in (None, outputs):
            raise UsageError(
                f"The ADM config: out_channels is {self.out_channels}, where images of {channels} "
                f"channels need {outputs}.",
                "Check in_channels, out_channels and learn_sigma.",
            )
        return {
            "in_channels": channels,
            "out_channels": outputs,
            "model_channels": self.num_channels,
            "num_res_blocks": self.num_res_blocks,
            "attention_resolutions": downsampling(self.image_size, self.attention_resolutions),
            "channel_mult": multipliers(self.image_size, self.channel_mult),
            "num_classes": self.classes if self.class_cond else None,
            "num_heads": self.num_heads,
            "num_heads_upsample": self.num_heads_upsample,
            "num_head_channels": self.num_head_channels,
            "use_scale_shift_norm": self.use_scale_shift_norm,
            "resblock_updown": self.resblock_updown,
            "use_new_attention_order": self.use_new_attention_order,
        }


def read_flags(given: Mapping[str, Any]) -> tuple[ADMFlags, Mapping[str, Any] | None]:
    """The flags in a config, on top of its `preset` if it names one.

    Flags of which improved-diffusion has all are taken for its own: timesteps are rescaled unless
    they say otherwise (which changes nothing where there are 1000).

    Returns:
        The flags, and the config's `classifier` with the `classifier_*` flags beside it, or None.

    Raises:
        UsageError: for an unknown preset, a misspelt flag, or an impossible value.
    """
    named = dict(given)
    preset = named.pop("preset", None)
    if preset is not None and str(preset) not in PRESETS:
        raise UsageError(f"There is no ADM preset '{preset}'.", f"Presets: {', '.join(PRESETS)}.")
    classifier = named.pop("classifier", None)
    if classifier is not None and not isinstance(classifier, Mapping):
        raise UsageError(
            "The ADM config: classifier must be a mapping.",
            "Write classifier: {checkpoint: PATH} and its flags.",
        )
    beside = {name: named.pop(name) for name in CLASSIFIER_FLAGS & named.keys()}
    ignored = TRAINING | _ASKED_ELSEWHERE
    known = {*ADMFlags.model_fields, *CLASSIFIER_FLAGS, *ignored, "preset", "classifier"}
    refuse_misspelt(named, known, "ADM has no flag")
    asked = {name: named[name] for name in ADMFlags.model_fields if name in named}
    flags = validated(ADMFlags, {**PRESETS.get(preset or "", {}), **asked}, "ADM")
    told = given.keys() & (_GUIDED | CLASSIFIER_FLAGS | {"rescale_timesteps"})
    if not told and flags.diffusion_steps != 1000:
        flags = flags.model_copy(update={"rescale_timesteps": True})
    return flags, None if classifier is None else {**beside, **classifier}

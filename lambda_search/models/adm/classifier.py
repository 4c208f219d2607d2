"""How a config describes the noisy classifier that guides an ADM model.

Names and defaults are those of openai/guided-diffusion (`script_util.py`), whose scripts have
flags for some of what the constructor of its network takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import Self

from pydantic import Field
from pydantic import model_validator

from lambda_search.errors import UsageError
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
from lambda_search.models.sizes import check_parts
from lambda_search.setting import FrozenModel

__all__ = ["CLASSIFIER_FLAGS", "classifier_arguments"]


class _ClassifierFlags(FrozenModel):
    """The scripts' flags of the noisy classifier."""

    image_size: Pixels
    classifier_width: Channels = 128
    classifier_depth: int = Field(default=2, ge=1)
    classifier_attention_resolutions: Sizes = (32, 16, 8)
    classifier_use_scale_shift_norm: bool = True
    classifier_resblock_updown: bool = True
    classifier_pool: str = "attention"

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        check_parts(len(multipliers(self.image_size, ())), self.classifier_depth)
        return self

    def network(self, classes: int) -> dict[str, Any]:
        return {
            "image_size": self.image_size,
            "out_channels": classes,
            "model_channels": self.classifier_width,
            "num_res_blocks": self.classifier_depth,
            "attention_resolutions": downsampling(
                self.image_size, self.classifier_attention_resolutions
            ),
            "channel_mult": multipliers(self.image_size, ()),
            "num_head_channels": 64,
            "use_scale_shift_norm": self.classifier_use_scale_shift_norm,
            "resblock_updown": self.classifier_resblock_updown,
            "pool": self.classifier_pool,
        }


class _ClassifierArguments(FrozenModel):
    """The constructor's arguments of the noisy classifier, with its defaults.

    The constructor has none for the first five; they are the scripts'.
    """

    image_size: Pixels
    out_channels: Classes
    model_channels: Channels = 128
    num_res_blocks: int = Field(default=2, ge=1)
    attention_resolutions: Sizes
    in_channels: Channels = 3
    channel_mult: Factors = (1, 2, 4, 8)
    conv_resample: bool = True
    num_heads: int = 1
    num_head_channels: int = -1
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    pool: str = "adaptive"

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        check_parts(len(multipliers(self.image_size, self.channel_mult)), self.num_res_blocks)
        return self


CLASSIFIER_FLAGS = {"classifier_use_fp16", *_ClassifierFlags.model_fields} - {"image_size"}
"""Flags that may stand beside a config's `classifier`, as the scripts have them."""


def classifier_arguments(
    given: Mapping[str, Any], image_size: int, classes: int
) -> dict[str, Any]:
    """The arguments of `Encoder` for a config's `classifier`, its checkpoint left out.

    Arguments:
        given: the scripts' `classifier_*` flags, or the constructor's arguments.
        image_size, classes: of the model that is guided.

    Raises:
        UsageError: for both at once, misspelt names, or impossible values.
    """
    names = given.keys() - {"checkpoint"}
    fields = _ClassifierArguments.model_fields
    ignored = TRAINING | {"num_heads_upsample", "classifier_use_fp16"}
    refuse_misspelt(names, {*fields, *ignored, *CLASSIFIER_FLAGS}, "A classifier has no flag")
    kept = {name: given[name] for name in sorted(names & (fields.keys() | CLASSIFIER_FLAGS))}
    if kept.get("image_size", image_size) != image_size:
        raise UsageError(
            f"The classifier is for images of {kept['image_size']} pixels, the model for "
            f"{image_size}.",
            "Take the classifier of the same resolution.",
        )
    kept["image_size"] = image_size
    by_flags = kept.keys() & CLASSIFIER_FLAGS
    by_arguments = kept.keys() & fields.keys() - {"image_size"}
    if by_flags and by_arguments:
        raise UsageError(
            "The classifier is described twice.",
            "Give either classifier_* flags or the constructor's arguments.",
        )
    if not by_arguments:
        return validated(_ClassifierFlags, kept, "ADM classifier").network(classes)
    own = {
        "out_channels": classes,
        "attention_resolutions": downsampling(image_size, (32, 16, 8)),
    }
    return validated(_ClassifierArguments, {**own, **kept}, "ADM classifier").model_dump()

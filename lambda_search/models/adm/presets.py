"""The flags of the five models that ADM-ES publishes λ for.

From the commands under "Sampling by ADM-ES" in the README of forever208/ADM-ES. The README of
forever208/DDPM-IP has the first three with the same flags, that of openai/guided-diffusion the
last two. Flags that are the scripts' defaults, or act in training only, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS"]

_SCRIPTS = {"resblock_updown": True, "learn_sigma": True, "noise_schedule": "cosine"}
_NEWER = {**_SCRIPTS, "attention_resolutions": "32,16,8", "use_new_attention_order": True}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "adm-cifar10": {
        **_NEWER,
        "image_size": 32,
        "num_channels": 128,
        "num_res_blocks": 3,
        "num_head_channels": 32,
        "attention_resolutions": "16,8",
    },
    "adm-lsun-tower64": {
        **_NEWER,
        "image_size": 64,
        "num_channels": 192,
        "num_res_blocks": 3,
        "num_head_channels": 64,
    },
    "adm-ffhq128": {
        **_NEWER,
        "image_size": 128,
        "num_channels": 256,
        "num_res_blocks": 3,
        "num_head_channels": 64,
    },
    "adm-imagenet64": {
        **_NEWER,
        "image_size": 64,
        "num_channels": 192,
        "num_res_blocks": 3,
        "num_head_channels": 64,
        "class_cond": True,
    },
    "adm-imagenet128": {
        **_SCRIPTS,
        "image_size": 128,
        "num_channels": 256,
        "num_res_blocks": 2,
        "num_heads": 4,
        "attention_resolutions": "32,16,8",
        "class_cond": True,
        "noise_schedule": "linear",
        "classifier_scale": 0.5,
    },
}

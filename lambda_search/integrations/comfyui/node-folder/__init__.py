# SPDX-License-Identifier: MIT
"""Epsilon Scaling with measured λ(σ), for ComfyUI."""

from .nodes import NODE_CLASS_MAPPINGS
from .nodes import NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

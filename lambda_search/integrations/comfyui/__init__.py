"""Rows for ComfyUI: one constant, or a node with λ(σ), and what of ComfyUI takes their steps.

It stands on records alone. `node-folder` is what ComfyUI loads; nothing here imports it.
"""

from __future__ import annotations

from lambda_search.integrations.comfyui.folder import check_row
from lambda_search.integrations.comfyui.folder import write_node
from lambda_search.integrations.comfyui.levels import check_levels
from lambda_search.integrations.comfyui.levels import known_levels
from lambda_search.integrations.comfyui.matching import match
from lambda_search.integrations.comfyui.words import constant_facts
from lambda_search.integrations.comfyui.words import facts
from lambda_search.integrations.comfyui.words import use

__all__ = [
    "check_levels",
    "check_row",
    "constant_facts",
    "facts",
    "known_levels",
    "match",
    "use",
    "write_node",
]

"""What decides the bits of images and features besides a study's file and its weights."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version

import torch

__all__ = ["LIBRARIES", "device_kind", "library_versions"]

LIBRARIES = ("torch", "numpy", "diffusers", "transformers")
"""Libraries whose versions may change bits. (numpy draws the noise.)"""


def library_versions() -> dict[str, str]:
    """The versions of `LIBRARIES` that are installed here, by name; of torch also its build."""
    found: dict[str, str] = {"torch": str(torch.__version__)}
    for name in LIBRARIES[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_kind(device: torch.device) -> str:
    """Names hardware whose results have the same bits: the GPU, or the CPU's instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu-{torch.backends.cpu.get_cpu_capability()}"

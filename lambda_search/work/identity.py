"""What decides the bits of images and features besides a study's file and its weights."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["LIBRARIES", "device_kind", "gpu_driver", "library_versions", "own_versions"]

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


def own_versions() -> dict[str, str]:
    """Versions of what carries tasks and answers between hosts; they decide no bits."""
    python = platform.python_version_tuple()
    return {"python": ".".join(python[:2]), "lambda-search": version("lambda-search")}


def gpu_driver() -> str | None:
    """The version of NVIDIA's driver here, if there is one and the system tells it."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"Kernel Module\D*(\d+(?:\.\d+)+)", told)
    return None if found is None else found[1]


def device_kind(device: torch.device) -> str:
    """Names hardware whose results have the same bits: the GPU, or the CPU's instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu-{torch.backends.cpu.get_cpu_capability()}"

"""Finding checkpoints and naming them by the SHA-256 of their weights. Checkpoints are data."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from lambda_search.errors import UsageError

__all__ = ["BUNDLED", "bundled_folder", "locate", "sha256_of"]

BUNDLED = "bundled:"


def bundled_folder(name: str) -> Path:
    """The folder `name` among the data that ships with the package.

    Raises:
        UsageError: if nothing of that name ships.
    """
    root = Path(str(resources.files("lambda_search.models"))) / "bundled"
    folder = root / name
    if not folder.is_dir():
        names = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise UsageError(f"Nothing named '{name}' is bundled.", f"Bundled: {', '.join(names)}.")
    return folder


def locate(checkpoint: str, base: Path | None = None) -> Path | None:
    """The local file or folder that `checkpoint` names, or None where there is none.

    Arguments:
        checkpoint: `bundled:NAME`, or a path, relative to `base` (the study file's folder).
    """
    if checkpoint.startswith(BUNDLED):
        return bundled_folder(checkpoint.removeprefix(BUNDLED))
    path = Path(checkpoint).expanduser()
    path = path if path.is_absolute() or base is None else base / path
    return path.resolve() if path.exists() else None


def sha256_of(*files: Path) -> str:
    """SHA-256 over the bytes of `files` in order, hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

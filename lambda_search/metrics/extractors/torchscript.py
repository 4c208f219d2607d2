"""Networks as TorchScript files: the user's own, and the one of Inception's evaluators.

TorchScript is a program, and it can write files: name only files that you trust.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import cast
from zipfile import BadZipFile

import torch
from pydantic import ValidationError
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.errors import last_line
from lambda_search.files import sha256_of
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.metrics.references.archives import unzipped
from lambda_search.models.file_kinds import Unsuitable
from lambda_search.models.json_files import MOST_BYTES
from lambda_search.models.json_files import loads
from lambda_search.models.json_files import read_bytes
from lambda_search.setting import first_problem

__all__ = ["check_module", "from_file", "load_module", "width_of"]

_PROBE = 64
_STEP = "Save it with torch.jit.save, or copy it again."


def from_file(path: Path, device: torch.device, run: bool = True) -> NetworkExtractor:
    """The module in `path`: images [n, c, h, w] → features [n, d].

    A JSON file beside it, of the same name, says what it is fed, in the names of `Preprocessing`;
    without one it gets RGB in 0 … 255 at the images' own size.

    Arguments:
        path: the file.
        device: where it computes.
        run: whether it may be run; if not, its width is not known (0).

    Raises:
        UsageError: if either file cannot be read, or the module does something else.
    """
    preprocessing = _beside(path.with_suffix(".json"))
    module = None
    if run:
        module = load_module(path, device)
    else:
        check_module(path)
    width = 0 if module is None else width_of(module, preprocessing, path, device)
    return NetworkExtractor(path.name, module, preprocessing, sha256_of(path), width, device)


def check_module(path: Path) -> None:
    """Raises UsageError unless `path` looks like TorchScript; nothing of it is run."""
    try:
        with unzipped(path, "TorchScript", _STEP) as archive:
            if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError("it holds no program")
    except Unsuitable as error:
        raise _unreadable(path, f"it {error.what}", error.step) from error
    except (BadZipFile, OSError, ValueError) as error:
        raise _unreadable(path, last_line(error)) from error


def load_module(path: Path, device: torch.device) -> Any:
    """The TorchScript module in `path`, for inference. Loading it runs it already.

    Raises:
        UsageError: if it cannot be read.
    """
    check_module(path)
    try:
        module = cast(Any, torch.jit.load)(str(path), map_location=device)
    except Exception as error:  # torch raises many kinds on broken files
        raise _unreadable(path, last_line(error)) from error
    return module.eval()


def _unreadable(path: Path, why: str, step: str = _STEP) -> UsageError:
    return UsageError(
        f"{path} cannot be read as TorchScript: {why}.",
        step,
    )


@torch.inference_mode()
def width_of(module: Any, preprocessing: Preprocessing, path: Path, device: torch.device) -> int:
    """d, from features of two black images.

    Raises:
        UsageError: if they are not [2, d].
    """
    h, w = preprocessing.size or (_PROBE, _PROBE)
    black = torch.zeros(2, preprocessing.channels, h, w, dtype=torch.uint8, device=device)
    try:
        found = module(preprocessing(black))
    except Exception as error:  # whatever the module provokes
        raise UsageError(
            f"The extractor {path} fails on images {list(black.shape)}: {last_line(error)}.",
            f"Say in {path.with_suffix('.json').name} what it is fed: channels, size, mean, std.",
        ) from error
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UsageError(
            f"The extractor {path} makes {what} of 2 images; features [2, d] are needed.",
            "Flatten its output to one vector an image.",
        )
    return int(found.shape[1])


def _beside(path: Path) -> Preprocessing:
    if not path.exists():
        return Preprocessing()
    try:
        return Preprocessing.model_validate(loads(read_bytes(path, MOST_BYTES)))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        said = str(error)
        if isinstance(error, ValidationError):
            said = ": ".join(first_problem(error)[:2])
        raise UsageError(
            f"{path} does not say what the extractor is fed: {said}.",
            f"Its entries are {', '.join(Preprocessing.model_fields)}.",
        ) from error

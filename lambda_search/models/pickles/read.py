"""Reads the checkpoints that PyTorch and pickle write, as data: nothing in a file is ever run.

The pickle inside is worked through by our own machine (`pickles.machine`). Those of Python and
torch build objects as they go: one attribute set on the wrong object is enough to escape an allow
list, and a few hostile bytes end the process or fill its memory. One machine and one allow list
(`pickles.globals`) serve all formats (`pickles.formats`).
"""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any

from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.models.file_kinds import Unsuitable
from lambda_search.models.pickles.formats import File
from lambda_search.models.pickles.formats import Reader
from lambda_search.models.pickles.globals import Forbidden
from lambda_search.models.pickles.values import InertObject
from lambda_search.models.pickles.values import Malformed
from lambda_search.models.pickles.values import PersistentObject

__all__ = ["InertObject", "PersistentObject", "read_pickle", "state_dict_of"]

_AGAIN = "Download or copy it again, and compare its size or SHA-256 with its source."
_ANEW = "Download or copy it again; if it stays so, save its state dict alone with torch.save."
_DEEPEST, _MOST_PARTS, _LONGEST_NAME = 64, 200_000, 512


def read_pickle(path: Path) -> Any:
    """The contents of a checkpoint: .pt, .pth, .ckpt (torch's zip or older format) or .pkl.

    Mappings come back as dict, parameters and tensors as tensors on the CPU without gradient,
    NumPy's as NumPy's, and objects of other classes as `InertObject` or `PersistentObject`.

    Raises:
        UsageError: if the file is missing, not a checkpoint, damaged, or asks for anything that
            no checkpoint needs.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "is a folder" if path.is_dir() else "is not a file"
            raise Unsuitable(kind, "Pass the checkpoint file itself.")
        with File(io.FileIO(path)) as stream:
            return Reader(stream).read()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"There is no file {path}.", "Check the checkpoint's path.") from None
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror or error}."
        raise UsageError(cause, "Check its permissions and its disk.") from error
    except MemoryError as error:
        cause = f"There is not enough memory to read {path}."
        raise UsageError(cause, "Free some, or use a machine with more.") from error
    except Forbidden as error:
        raise UsageError(
            f"{path} wants to run '{printable(error.name)}', which no checkpoint needs.",
            "Nothing was run. Take the file from the model's authors, or a state dict alone.",
        ) from None
    except Malformed as error:
        raise UsageError(f"{path} cannot be read: {error}.", _ANEW) from error
    except Unsuitable as error:
        raise UsageError(f"{path} {error.what}.", error.step) from None
    except Exception as error:  # damage shows as whatever the libraries below happen to raise
        raise UsageError(f"{path} is damaged or incomplete.", _AGAIN) from error


def state_dict_of(module: InertObject) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a module by dotted name, as torch's `state_dict`.

    Arguments:
        module: a module of torch or a `PersistentObject` around one, as `read_pickle` gives it.

    Raises:
        UsageError: if it is not a module, or not a finite tree of modules.
    """
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, module)]
    seen = 0
    while waiting:
        prefix, depth, current = waiting.pop()
        state = current.state if isinstance(current, InertObject) else None
        if not isinstance(state, dict):
            raise UsageError(f"'{prefix or 'The object'}' is not a network's module.", _AGAIN)
        kinds = [state.get(kind, {}) for kind in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(parts, dict) for parts in kinds):
            raise UsageError("A module in the checkpoint has no proper parts.", _AGAIN)
        seen += 1 + sum(len(parts) for parts in kinds)
        if depth > _DEEPEST or seen > _MOST_PARTS or len(prefix) > _LONGEST_NAME:
            raise UsageError("A module in the checkpoint contains itself, or too much.", _AGAIN)
        parameters, buffers, children = map(_named, kinds)
        transient = state.get("_non_persistent_buffers_set", ())
        transient = transient if isinstance(transient, set) else ()
        for name, value in (*parameters, *buffers):
            if isinstance(value, Tensor) and name not in transient:
                found[prefix + name] = value
        waiting.extend((f"{prefix}{name}.", depth + 1, child) for name, child in children[::-1])
    return found


def _named(parts: dict[Any, Any]) -> list[tuple[str, Any]]:
    """The named parts of one kind that a module has; None stands for one that is left out."""
    if not all(isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME for name in parts):
        raise UsageError("A module in the checkpoint has no proper parts.", _AGAIN)
    return [(name, value) for name, value in parts.items() if value is not None]

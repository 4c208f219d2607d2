"""What a loaded object is made of: its size, and the libraries whose code it runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import BuiltinFunctionType
from types import FunctionType
from types import MethodType
from types import ModuleType

import numpy as np
import torch
from torch import nn

from lambda_search.work.identity import LIBRARIES

__all__ = ["libraries_of", "size_of"]

_LEAVES = (type, ModuleType, BuiltinFunctionType, str, bytes, int, float, complex, type(None))


def size_of(*things: object) -> int:
    """Bytes of the tensors and arrays that `things` hold, each counted once."""
    sizes: dict[object, int] = {}
    for part in _parts(things):
        if isinstance(part, torch.Tensor):
            storage = part.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(part, np.ndarray) and part.base is None:
            sizes[part.ctypes.data] = part.nbytes
    return sum(sizes.values())


def libraries_of(*things: object) -> tuple[str, ...]:
    """Which of `LIBRARIES` the classes of all that `things` hold come from, sorted."""
    homes = {type(part).__module__.partition(".")[0] for part in _parts(things)}
    return tuple(sorted(homes.intersection(LIBRARIES)))


def _parts(things: tuple[object, ...]) -> Iterator[object]:
    """Everything that `things` hold, themselves included, each once."""
    seen: dict[int, object] = {}  # keeps what it has seen alive, so that no id comes twice
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, _LEAVES) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple | set | frozenset):
            waiting.extend(thing)
        elif isinstance(thing, FunctionType):
            waiting.extend(cell.cell_contents for cell in thing.__closure__ or ())
        elif isinstance(thing, MethodType):
            waiting.extend([thing.__self__, thing.__func__])
        elif isinstance(thing, partial):
            waiting.extend([thing.func, thing.args, thing.keywords])
        elif isinstance(thing, nn.Module):  # TorchScript keeps them out of its attributes
            waiting.extend([*thing.parameters(), *thing.buffers(), *thing.modules()])
        if not isinstance(thing, torch.Tensor):
            waiting.extend(getattr(thing, "__dict__", {}).values())

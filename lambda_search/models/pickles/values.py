"""What a pickle may build: inert records, tensors, NumPy arrays. No name is imported or run.

A class of a library that a checkpoint mentions becomes an `InertClass`, its objects `InertObject`:
records that are never imported, that calling fills and building annotates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "DType",
    "Function",
    "InertClass",
    "InertObject",
    "Malformed",
    "PersistentObject",
    "Storage",
    "array_from_buffer",
    "build",
    "check_key",
    "dtype",
    "empty_array",
    "member",
    "scalar",
    "tensor",
]

# A tensor with stride 0 stands for more elements than it stores. Real ones are small.
_EXPANDED = 1 << 20
_MOST_DIMENSIONS = 64
_MOST_PARTS, _LONGEST_KEY, _LARGEST_PART = 4, 4096, 1 << 16
# No object dtype: its elements are objects of the pickle's choice.
_TIME = re.compile(r"\A([<>=]?)[mM]8\Z")  # read as the counts that are kept of them
_CODE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6})")


class Malformed(ValueError):
    """A pickle's parts do not fit together; the text says which."""


@dataclass(frozen=True, slots=True)
class InertClass:
    """The name of a class of the file, and no more; equal names are equal keys."""

    name: str


@dataclass(eq=False, repr=False)
class InertObject:
    """What a pickle said about an object: its class's name and the parts it was to be built from.

    Arguments:
        class_name: the class, with its module.
        args: what the class was to be called with.
        kwargs: likewise, by name.
        state: what its attributes were to be set from, mostly a dict by attribute.
        items: what was to be set by key, in a class that is a mapping.
        entries: what was to be appended or added, in a class that is a list or a set.
    """

    class_name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.class_name}>"  # its parts may hold one another


@dataclass(eq=False, repr=False)
class PersistentObject(InertObject):
    """An object that EDM's and PFGM++'s `torch_utils.persistence` saved together with its source.

    Arguments:
        meta: what the file says of it besides `class_name` and `state`; `module_src`, the source
            text, is kept as text.
    """

    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name that the object was constructed with; empty if not recorded."""
        return _as_dict(_as_dict(self.state).get("_init_kwargs"))


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One of our own functions, under the name by which a pickle asks for it."""

    name: str
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """The bytes behind tensors. Arguments: `data`, uint8 [bytes]; `dtype` of the elements."""

    dtype: torch.dtype
    data: Tensor


@dataclass(slots=True, eq=False)
class DType:
    """A NumPy dtype of plain numbers or text, with its byte order, which a pickle sets later."""

    code: str
    order: str = "="

    def numpy(self) -> np.dtype[Any]:
        """The dtype itself."""
        return np.dtype(self.order + self.code)


_NAMES = (str, bytes, type(None), InertClass, torch.dtype)
_NUMBERS = (int, float, np.number, np.bool_)


def check_key(key: Any) -> Any:
    """`key`, if it is one that checkpoints have: a scalar, a class, or a short tuple of these.

    Hashing a tuple in a tuple, a million deep, would overflow the stack of the process; so would
    keys of equal hash that are made on purpose take hours: of complex and of huge numbers, and of
    tuples of large ones, there are as many as one likes. So it is with long tuples of −1 and −2,
    whose hashes are equal; of four parts that differ in theirs, few share one.
    """
    if type(key) is tuple:
        if len(key) > _MOST_PARTS or not all(map(_is_part, key)):
            raise Malformed("it has a key that is no short tuple of names and small numbers")
    elif isinstance(key, complex | np.complexfloating):
        raise Malformed("it has a key that is a complex number")
    elif not isinstance(key, (*_NAMES, *_NUMBERS, InertObject)):
        raise Malformed(f"it has a key of type {type(key).__name__}")
    elif isinstance(key, int) and key.bit_length() > 64:
        raise Malformed("it has a key that is a huge number")
    elif isinstance(key, str | bytes) and len(key) > _LONGEST_KEY:
        raise Malformed(f"it has a key of more than {_LONGEST_KEY} characters")
    return key


def _is_part(part: Any) -> bool:
    if isinstance(part, int):
        return -1 <= part <= _LARGEST_PART
    if isinstance(part, str | bytes):
        return len(part) <= _LONGEST_KEY
    return part is None or isinstance(part, InertClass | torch.dtype)


def tensor(
    storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None
) -> Tensor:
    """A view of `storage`, on the CPU, without gradient.

    Arguments:
        storage: a `Storage`.
        offset: elements before the first one.
        size: elements per dimension.
        stride: elements from one to the next, per dimension, 0 or more.
        dtype: of the elements, by default the storage's.

    Raises:
        Malformed: if the view does not lie within the storage.
    """
    if not isinstance(storage, Storage) or not _natural(size) or not _natural(stride):
        raise Malformed("a tensor is not described by a storage, a size and a stride")
    if not _natural((offset,)) or len(size) != len(stride):
        raise Malformed("a tensor's size and stride do not fit together")
    dtype = storage.dtype if dtype is None else dtype
    elements = storage.data.numel() // dtype.itemsize
    count = math.prod(size)
    if count == 0:
        return torch.empty(size, dtype=dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= elements or count > max(elements, _EXPANDED):
        raise Malformed("a tensor reaches beyond its storage")
    flat = storage.data[: elements * dtype.itemsize].view(dtype)
    return flat.as_strided(size, stride, flat.storage_offset() + offset)


def dtype(code: Any, *_: Any) -> DType:
    """`numpy.dtype(code, align, copy)`."""
    text = code if isinstance(code, str) else ""
    matched = _CODE.fullmatch(_TIME.sub(r"\1i8", text))
    if matched is None:
        raise Malformed("it has a NumPy array of something other than numbers and text")
    order = text[0] if text[0] in "<>|=" else "="
    return DType(matched[1], order)


def scalar(kind: Any, raw: Any) -> Any:
    """`numpy.core.multiarray.scalar(dtype, bytes)`."""
    return _flat(kind, raw, 1)[0]


def member(kind: Any, name: Any) -> InertObject:
    """`getattr`, by which Python 3.11 names an enum's member; nothing is looked up."""
    if not isinstance(kind, InertClass) or not isinstance(name, str) or not name.isidentifier():
        raise Malformed("it asks for an attribute of something else than a class")
    return InertObject(kind.name, (name,))


def empty_array(*_: Any) -> np.ndarray[Any, Any]:
    """`numpy.core.multiarray._reconstruct`: an empty array, which `build` fills."""
    return np.empty(0, np.uint8)


def array_from_buffer(
    raw: Any, kind: Any, shape: Any, order: Any, *_: Any
) -> np.ndarray[Any, Any]:
    """`numpy.core.numeric._frombuffer`: how protocol 5 keeps arrays."""
    if not _natural(shape) or not isinstance(order, str) or order not in ("C", "F"):
        raise Malformed("a NumPy array's shape is none")
    flat = _flat(kind, raw, math.prod(shape))
    return flat.reshape(shape, order="C" if order == "C" else "F")


def build(target: Any, state: Any) -> None:
    """Gives `state` to an object that was just made. What has no use for a state is refused.

    Raises:
        Malformed: if the two do not fit.
    """
    if isinstance(target, InertObject):
        target.state = state
    elif isinstance(target, DType):
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise Malformed("a NumPy dtype has no byte order")
        target.order = order
    elif isinstance(target, np.ndarray):
        _fill(target, state)
    elif type(target) is not dict:  # a dict's attributes, such as `_metadata`, are of no use here
        raise Malformed(f"it sets the state of a {type(target).__name__}")


def _fill(array: Any, state: Any) -> None:
    if not (isinstance(state, tuple) and len(state) == 5 and array.size == 0):
        raise Malformed("a NumPy array's state is none")
    _, shape, kind, fortran, raw = state
    if not _natural(shape):
        raise Malformed("a NumPy array's shape is none")
    flat = _flat(kind, raw, math.prod(shape))
    # The array is known to the pickle already, so it has to change in place. NumPy may take the
    # bytes that it is given as the array's own memory: these are a fresh copy.
    array.__setstate__((1, shape, flat.dtype, fortran is True, flat.tobytes()))


def _flat(kind: Any, raw: Any, count: int) -> np.ndarray[Any, Any]:
    """A writable copy of `raw` as `count` elements of `kind`."""
    if isinstance(raw, str):  # Python 2's bytes
        raw = raw.encode("latin-1")
    if not isinstance(kind, DType) or not isinstance(raw, bytes | bytearray):
        raise Malformed("a NumPy array is not described by a dtype and bytes")
    plain = kind.numpy()
    if len(raw) != count * plain.itemsize:
        raise Malformed("a NumPy array's length is not that of its bytes")
    return np.frombuffer(raw, plain, count).copy() if count else np.empty(0, plain)


def _natural(numbers: Any) -> bool:
    """Whether these are a few whole numbers of 0 or more, in a tuple."""
    if not isinstance(numbers, tuple) or len(numbers) > _MOST_DIMENSIONS:
        return False
    return all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

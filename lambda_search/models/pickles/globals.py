"""The names that checkpoints of the six frameworks use in their pickles, and nothing else.

Names of tensors and containers get functions of ours; classes of torch, Lightning and of libraries
for settings, by prefix, and a few of the standard library become `InertClass` records. No name is
ever imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lambda_search.models.pickles.machine import Find
from lambda_search.models.pickles.values import Function
from lambda_search.models.pickles.values import InertClass
from lambda_search.models.pickles.values import Malformed
from lambda_search.models.pickles.values import PersistentObject
from lambda_search.models.pickles.values import array_from_buffer
from lambda_search.models.pickles.values import check_key
from lambda_search.models.pickles.values import dtype
from lambda_search.models.pickles.values import empty_array
from lambda_search.models.pickles.values import member
from lambda_search.models.pickles.values import scalar
from lambda_search.models.pickles.values import tensor

__all__ = ["Forbidden", "find", "finder"]

# Any class in these packages is read as a record of its name.
_PACKAGES = (
    "addict",
    "easydict",
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "ml_collections",
    "munch",
    "numpy.random",
    "omegaconf",
    "pathlib",  # newer Pythons keep its classes in modules below it
    "pytorch_lightning",
    "torch._C._nn",  # activations
    "torch._dynamo.eval_frame",
    "torch.amp",
    "torch.cuda.amp",
    "torch.distributed.fsdp",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.modules",
    "torch.nn.parallel",
    "torch.optim",
    "yacs",
)
_CLASSES = {
    "_operator": "or_",
    "argparse": "Namespace",
    "array": "_array_reconstructor array",
    "collections": "ChainMap UserDict UserList UserString",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "enum": "auto",
    "fractions": "Fraction",
    "functools": "partial partialmethod",
    "http": "HTTPMethod HTTPStatus",
    "ipaddress": "IPv4Address IPv6Address",
    "numpy": "bool bool_ bytes_ complex128 complex64 datetime64 float16 float32 float64 int16 "
    "int32 int64 int8 ndarray str_ timedelta64 uint16 uint32 uint64 uint8",
    "os": "stat_result terminal_size times_result uname_result",
    "packaging.version": "Version",
    "platform": "uname_result",
    "re": "Pattern RegexFlag _compile",
    "signal": "Handlers Signals",
    "time": "struct_time",
    "torch": "Generator Tensor device layout memory_format",
    "torch.torch_version": "TorchVersion",
    "torch.utils.hooks": "RemovableHandle",
    "types": "MappingProxyType SimpleNamespace",
    "typing": "Any",
    "uuid": "SafeUUID UUID",
    "zoneinfo": "ZoneInfo",
    **dict.fromkeys(
        ("builtins", "__builtin__"),
        "Ellipsis NotImplemented bool dict float int list long object range slice str tuple "
        "unicode xrange",
    ),
}
_STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
    "UntypedStorage": torch.uint8,
}
_DTYPES = (
    "bfloat16 bool complex128 complex64 float16 float32 float64 float8_e4m3fn float8_e5m2 "
    "int16 int32 int64 int8 uint16 uint32 uint64 uint8"
).split()


class Forbidden(Exception):
    """A pickle asks for a name that is not allowed. Arguments: `name`, with its module."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def find(module: str, name: str) -> Any:
    """What a pickle gets for `module.name`.

    Raises:
        Forbidden: if no checkpoint needs it.
    """
    known = _KNOWN.get((module, name))
    if known is not None:
        return known
    inside = any(module == package or module.startswith(package + ".") for package in _PACKAGES)
    # A dotted name would mean an attribute of a class: no class of these is saved like that.
    if inside and name.isidentifier() and all(map(str.isidentifier, module.split("."))):
        return InertClass(f"{module}.{name}")
    raise Forbidden(f"{module}.{name}")


def finder(**functions: Any) -> Find:
    """`find`, extended by functions of `torch.storage` that need the file at hand."""

    def extended(module: str, name: str) -> Any:
        if module == "torch.storage" and name in functions:
            return Function(f"{module}.{name}", functions[name])
        return find(module, name)

    return extended


def _deque(members: Any = (), longest: Any = None) -> list[Any]:
    """A queue's members; those that it had no room for were never written."""
    return list(_sequence(members))


def _mapping(entries: Any = ()) -> dict[Any, Any]:
    """`dict` and the like: OrderedDict, Counter, EasyDict."""
    if not isinstance(entries, dict | list | tuple):
        raise Malformed("a mapping in it has no entries")
    pairs = entries.items() if isinstance(entries, dict) else entries
    return {check_key(key): value for key, value in pairs}


def _default_mapping(factory: Any = None, entries: Any = ()) -> dict[Any, Any]:
    return _mapping(entries)


def _set(members: Any = ()) -> set[Any]:
    return set(map(check_key, _sequence(members)))


def _frozenset(members: Any = ()) -> frozenset[Any]:
    return frozenset(_set(members))


def _sequence(members: Any) -> tuple[Any, ...]:
    """`torch.Size`, and what a set is made from."""
    if not isinstance(members, list | tuple):
        raise Malformed("a collection in it has no members")
    return tuple(members)


def _complex(real: Any, imaginary: Any) -> complex:
    if not isinstance(real, float | int) or not isinstance(imaginary, float | int):
        raise Malformed("a complex number in it has other parts than numbers")
    return complex(real, imaginary)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes as protocol 2 writes them."""
    known = isinstance(encoding, str) and encoding in ("latin1", "latin-1")
    if not isinstance(text, str) or not known:
        raise Malformed("bytes in it are not written as text")
    return text.encode("latin-1")


def _bytes() -> bytes:
    return b""


def _bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(data if isinstance(data, bytes) else _encode(data, encoding))


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    return tensor(storage, offset, size, stride)


def _rebuild_tensor_v2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Tensor:
    if metadata:  # a conjugate or negative view, whose bytes are not its values
        raise Malformed("it has a tensor that is a conjugate or negative view")
    return tensor(storage, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    kind: Any,
    metadata: Any = None,
) -> Tensor:
    if metadata or not isinstance(kind, torch.dtype):
        raise Malformed("it has a tensor of an unknown kind")
    return tensor(storage, offset, size, stride, kind)


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    """A parameter's values; whether it was being trained, its hooks and attributes are dropped."""
    if not isinstance(data, Tensor):
        raise Malformed("a parameter in it is not a tensor")
    return data


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, which are dropped."""
    if not isinstance(function, Function) or not function.name.startswith("torch._utils."):
        raise Malformed("a tensor in it is made in an unknown way")
    return function.call(*_sequence(arguments))


def _reconstruct_persistent_object(meta: Any) -> PersistentObject:
    """`torch_utils.persistence`: the original runs the source text in `meta`; this does not."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Malformed("an object in it has no class name")
    rest = {key: value for key, value in meta.items() if key not in ("class_name", "state")}
    return PersistentObject(meta["class_name"], state=meta.get("state"), meta=rest)


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("collections", "Counter"): _mapping,
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _default_mapping,
    ("collections", "deque"): _deque,
    ("dnnlib", "EasyDict"): _mapping,
    ("dnnlib.util", "EasyDict"): _mapping,
    ("numpy", "dtype"): dtype,
    ("torch", "Size"): _sequence,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch.nn.parameter", "Parameter"): _rebuild_parameter,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct_persistent_object,
}
for _module in ("builtins", "__builtin__"):  # Python 3's name, and protocol 2's
    _FUNCTIONS[_module, "bytearray"] = _bytearray
    _FUNCTIONS[_module, "bytes"] = _bytes
    _FUNCTIONS[_module, "complex"] = _complex
    _FUNCTIONS[_module, "getattr"] = member
    _FUNCTIONS[_module, "frozenset"] = _frozenset
    _FUNCTIONS[_module, "set"] = _set
for _module in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _FUNCTIONS[f"{_module}.multiarray", "_reconstruct"] = empty_array
    _FUNCTIONS[f"{_module}.multiarray", "scalar"] = scalar
    _FUNCTIONS[f"{_module}.numeric", "_frombuffer"] = array_from_buffer

_KNOWN: dict[tuple[str, str], Any] = {
    **{
        (module, name): InertClass(f"{module}.{name}")
        for module, names in _CLASSES.items()
        for name in names.split()
    },
    **{key: Function(".".join(key), function) for key, function in _FUNCTIONS.items()},
    **{("torch", name): getattr(torch, name) for name in _DTYPES},
    **{
        (module, name): kind
        for module in ("torch", "torch.cuda", "torch.storage")
        for name, kind in _STORAGES.items()
    },
}

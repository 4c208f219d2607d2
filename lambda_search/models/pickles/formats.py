"""The formats of checkpoints around a pickle: torch's zip files, its older files, bare pickles.

Zip files go through Python's `zipfile`, whose checks of lengths and checksums raise where readers
in C++ trust. The tensors of a file together are never larger than the file.
"""

from __future__ import annotations

import io
import sys
import zipfile
from typing import IO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lambda_search.models.file_kinds import HEAD
from lambda_search.models.file_kinds import PICKLES
from lambda_search.models.file_kinds import ZIP
from lambda_search.models.file_kinds import Unsuitable
from lambda_search.models.file_kinds import described
from lambda_search.models.file_kinds import described_archive
from lambda_search.models.file_kinds import is_safetensors
from lambda_search.models.pickles.globals import find
from lambda_search.models.pickles.globals import finder
from lambda_search.models.pickles.machine import Budget
from lambda_search.models.pickles.machine import Machine
from lambda_search.models.pickles.values import Malformed
from lambda_search.models.pickles.values import Storage
from lambda_search.models.pickles.values import check_key

__all__ = ["File", "Reader"]

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's older files begin with a pickle of this number
_OLD_PROTOCOL = 1001


class File(io.BufferedReader):
    """A file of which `read` reserves no more memory than the file can fill."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.length = raw.seek(0, io.SEEK_END)
        raw.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, self.length - self.tell()))
        return super().read(size)


class Reader:
    """Reads one file, from its beginning. Arguments: `stream`."""

    def __init__(self, stream: File) -> None:
        self._stream = stream
        self._length = stream.length
        self._left = stream.length
        self._budget = Budget(stream.length)

    def read(self) -> Any:
        """The contents.

        Raises:
            Unsuitable: if the file is none of the three formats.
            Forbidden: if it asks for a name that no checkpoint needs.
            Exception: whatever the damage in it brings about.
        """
        head = self._stream.read(HEAD)
        self._stream.seek(0)
        if head.startswith(ZIP):
            return self._read_zip()
        if head.startswith(PICKLES):
            return self._read_plain()
        if is_safetensors(head):
            step = "Pass the authors' .pt, .pth, .ckpt or .pkl file."
            raise Unsuitable("is a safetensors file, not the authors' own format", step)
        raise described(head)

    def _read_plain(self) -> Any:
        """A bare pickle, or torch's older format, which is several of them and then tensors."""
        inner = finder(_load_from_bytes=self._load_from_bytes)
        root = Machine(self._stream, inner, self._budget).load()
        if type(root) is int and root == _MAGIC:
            return self._read_old(self._stream)
        return root

    def _load_from_bytes(self, data: Any) -> Storage:
        """`torch.storage._load_from_bytes`: a storage in torch's older format inside a pickle."""
        if not isinstance(data, bytes):
            raise Malformed("a tensor in it is not kept as bytes")
        if not data.startswith(PICKLES):
            raise Malformed("a tensor in it is kept in an unknown format")
        stream = io.BytesIO(data)
        magic = Machine(stream, find, self._budget).load()
        if type(magic) is not int or magic != _MAGIC:
            raise Malformed("a tensor in it is kept in an unknown format")
        storage = self._read_old(stream)
        if not isinstance(storage, Storage):
            raise Malformed("a tensor in it is kept as something else")
        return storage

    def _read_old(self, stream: IO[bytes]) -> Any:
        """Behind the magic number: version, machine, contents, the tensors' names, their bytes."""
        storages: dict[Any, Storage] = {}

        def persistent(identity: Any) -> Any:
            if isinstance(identity, tuple) and len(identity) == 4 and _is(identity[0], "module"):
                return identity[1]  # a class, with its source text
            kind, key, _, count, *view = _storage_identity(identity, 6)
            if key not in storages:
                storages[key] = self._allocate(kind, count)
            whole = storages[key]
            if view[0] is None:
                return _as(whole, kind, count)
            _, start, size = view[0]  # a part of the storage, of `size` elements
            if type(start) is not int or type(size) is not int or not 0 <= start <= start + size:
                raise Malformed("a tensor reaches beyond its storage")
            part = whole.data[start * kind.itemsize : (start + size) * kind.itemsize]
            return _as(Storage(kind, part), kind, size)

        def load() -> Any:
            return Machine(stream, find, self._budget, persistent).load()

        if load() != _OLD_PROTOCOL:
            raise Malformed("it has an unknown version")
        machine = load()
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise Malformed("its numbers are big-endian")
        root = load()
        keys = load()
        named = isinstance(keys, list) and len(keys) == len(storages)
        if not named or set(map(check_key, keys)) != set(storages):
            raise Malformed("its list of tensors is not that of its contents")
        for key in keys:
            data, kind = storages[key].data, storages[key].dtype
            if int.from_bytes(stream.read(8), "little") * kind.itemsize != data.numel():
                raise Malformed("a tensor's length is not what its contents say")
            _fill(data, stream)
        return root

    def _read_zip(self) -> Any:
        with zipfile.ZipFile(self._stream) as archive:
            names = archive.namelist()
            roots = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
            folder = roots[0].removesuffix("data.pkl") if len(roots) == 1 else ""
            if not folder or folder + "constants.pkl" in names:
                raise described_archive(names)
            order = folder + "byteorder"
            if order in names and self._record(archive, order) != sys.byteorder.encode():
                raise Malformed(f"its numbers are not {sys.byteorder}-endian")
            storages: dict[str, Storage] = {}

            def persistent(identity: Any) -> Storage:
                kind, key, _, count = _storage_identity(identity, 5)
                if not isinstance(key, str):
                    raise Malformed("a tensor's name is not text")
                if key not in storages:
                    storage = self._allocate(kind, count)
                    with self._open(archive, f"{folder}data/{key}", storage.data.numel()) as data:
                        _fill(storage.data, data)
                    storages[key] = storage
                return _as(storages[key], kind, count)

            contents = self._record(archive, roots[0])
            return Machine(io.BytesIO(contents), find, self._budget, persistent).load()

    def _record(self, archive: zipfile.ZipFile, name: str) -> bytes:
        with self._open(archive, name) as record:
            return record.read()

    def _open(self, archive: zipfile.ZipFile, name: str, size: int | None = None) -> IO[bytes]:
        info = archive.getinfo(name)
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not stored:
            raise Malformed("it was compressed again: torch stores its parts as they are")
        if info.file_size > self._length or size not in (None, info.file_size):
            raise Malformed("a tensor's length is not what its contents say")
        if info.CRC == 0:  # torch writes 0 if it was told to save without checksums
            del info.CRC
        return archive.open(info)

    def _allocate(self, kind: torch.dtype, count: int) -> Storage:
        size = count * kind.itemsize
        self._left -= size
        if self._left < 0:
            raise Malformed("its tensors are larger than the file")
        try:
            return Storage(kind, torch.empty(size, dtype=torch.uint8))
        except RuntimeError as error:  # torch's word for a lack of memory
            raise MemoryError from error


def _storage_identity(identity: Any, length: int) -> tuple[Any, ...]:
    """(dtype, key, location, elements, …) of what a pickle says about a tensor's bytes."""
    if (
        not isinstance(identity, tuple)
        or len(identity) != length
        or not _is(identity[0], "storage")
    ):
        raise Malformed("a tensor in it is kept in an unknown way")
    kind, key, _, count = identity[1:5]
    if not isinstance(kind, torch.dtype) or not isinstance(key, str | int):
        raise Malformed("a tensor in it has an unknown kind or name")
    if type(count) is not int or not 0 <= count < 1 << 63:
        raise Malformed("a tensor in it has no length")
    check_key(key)
    return identity[1:]


def _is(part: Any, word: str) -> bool:
    """Whether `part` is this text; arrays would compare each of their elements."""
    return isinstance(part, str) and part == word


def _as(storage: Storage, kind: torch.dtype, count: int) -> Storage:
    if count * kind.itemsize != storage.data.numel():
        raise Malformed("a tensor's length is not what its contents say")
    return Storage(kind, storage.data)


def _fill(data: Tensor, stream: IO[bytes]) -> None:
    """Reads the bytes of a storage, uint8 [bytes]."""
    into = data.numpy()
    filled = 0
    while filled < len(into):
        block = stream.read(min(1 << 24, len(into) - filled))
        if not block:
            raise Malformed("it ends too early")
        into[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)

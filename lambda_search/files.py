"""Files that are there whole or not at all, and their names by content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from typing import cast

__all__ = ["sha256_of", "written_whole"]

_BLOCK = 1 << 20


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream for what becomes `path` when the block ends well; else nothing is left of it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as stream:
        try:
            yield cast(IO[bytes], stream)
            stream.close()  # a full disk may only tell now
            os.replace(stream.name, path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


def sha256_of(*files: Path) -> str:
    """SHA-256 over the bytes of `files` in order, hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()

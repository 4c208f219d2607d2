"""What a file is, by its content: suffixes lie, and downloads leave pages and pointers behind."""

from __future__ import annotations

import string
from collections.abc import Collection

__all__ = [
    "HEAD",
    "PICKLES",
    "ZIP",
    "Unsuitable",
    "described_archive",
    "described",
    "is_safetensors",
]

HEAD = 512
"""Bytes at a file's beginning that tell what it is."""
ZIP = b"PK\x03\x04"
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))

_AUTHORS = "Pass the authors' .pt, .pth, .ckpt, .pkl or .safetensors file."
_AGAIN = "Fetch it again: the address wants a login, or is that of a page about the file."
_POINTER = "Fetch the real file: git lfs pull."
_UNPACK = "Unpack it and pass the checkpoint inside."
_WEIGHTS = "Pass the file with the weights, from the authors."
_BEGINNINGS = (  # (how a file begins, what it is, what to do)
    (b"version https://git-lfs", "a git-lfs pointer", _POINTER),
    (b"/annex/objects/", "a git-annex pointer", "Fetch the real file: git annex get."),
    (b"<", "a web page", _AGAIN),
    (b"\xff\xd8\xff", "an image", _AUTHORS),
    (b"\x89PNG", "an image", _AUTHORS),
    (b"GIF8", "an image", _AUTHORS),
    (b"RIFF", "an image, a film or a sound", _AUTHORS),
    (b"%PDF", "a PDF document", _AUTHORS),
    (b"\x7fELF", "a program", _AUTHORS),
    (b"MZ", "a program", _AUTHORS),
    (b"SQLite format 3\0", "an SQLite database", _AUTHORS),
    (b"\x1f\x8b", "a compressed archive", _UNPACK),
    (b"BZh", "a compressed archive", _UNPACK),
    (b"\xfd7zXZ", "a compressed archive", _UNPACK),
    (b"7z\xbc\xaf", "a compressed archive", _UNPACK),
    (b"Rar!", "a compressed archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a compressed archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "a compressed archive", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", "Download or copy it again."),
    (b"GGUF", "a GGUF file", _WEIGHTS),
    (b"lmgg", "a GGML file", _WEIGHTS),
    (b"tjgg", "a GGML file", _WEIGHTS),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes", _WEIGHTS),
    (b"\x93NUMPY", "a NumPy array", _WEIGHTS),
    (b"\x08\x01\x12", "a TensorFlow model", _WEIGHTS),
)
_AT = (  # (where, what stands there, what it is, what to do)
    (257, b"ustar", "a tar archive", _UNPACK),
    (4, b"TFL3", "a TensorFlow Lite model", _WEIGHTS),
    (4, b"ftyp", "a film or an image", _AUTHORS),
    (0, b"\xa6params", "a Flax checkpoint (msgpack)", _WEIGHTS),
)
_OLD_PICKLES = (b"(dp", b"(lp", b"}q", b"]q", b"ccollections\n", b"ccopy_reg\n")
_ONNX = bytes(range(3, 16))
_TEXT = frozenset(string.printable.encode())
_SHOWN = 60
_WANTED = "\0"


class Unsuitable(Exception):
    """A file is whole, but no checkpoint. Arguments: `what` it is, and the next `step`."""

    def __init__(self, what: str, step: str) -> None:
        super().__init__(what, step)
        self.what = what
        self.step = step


def is_safetensors(head: bytes) -> bool:
    """Whether a file with this beginning has a JSON header behind the header's length."""
    return head[8:9] == b"{" and not head.startswith((ZIP, *PICKLES))


def described(head: bytes, wanted: str = "a checkpoint", step: str = "") -> Unsuitable:
    """What a file is that begins with `head`, and is not what is wanted.

    Arguments:
        head: its first `HEAD` bytes.
        wanted: what it should be.
        step: what to do where that does not follow from what it is; "" for weights.
    """
    what, own = _told(head)
    if step and own in (_AUTHORS, _WEIGHTS):
        own = step
    return Unsuitable(what.replace(_WANTED, wanted, 1), own)


def _told(head: bytes) -> tuple[str, str]:
    """(what it is and what it is not, `_WANTED`; the next step)."""
    if not head:
        return "is empty", "Download or copy it again."
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, what, step in _BEGINNINGS:
        if start.startswith(beginning):
            return f"is {what}, not {_WANTED}", step
    for at, mark, what, step in _AT:
        if mark in (head[at : at + len(mark)], head[1 : 1 + len(mark)] if at == 0 else b""):
            return f"is {what}, not {_WANTED}", step
    if head[:1] == b"\x08" and head[1:2] in _ONNX and head[2:3] in (b"\x12", b":", b"B"):
        return f"is an ONNX model, not {_WANTED}", _WEIGHTS
    if head.startswith(_OLD_PICKLES):
        step = "Save it again with a newer protocol, or its state dict alone with torch.save."
        return "is a pickle of protocol 0 or 1, which is not read", step
    if not head.strip(b"\0"):
        return "begins with zeros, as a broken download does", _AGAIN
    if b'"weight_map"' in head:
        return "is the list of a model's parts, not its weights", _WEIGHTS
    if _TEXT.issuperset(start):
        words = " ".join(start.decode().split())
        shown = words[:_SHOWN] + "…" * (len(words) > _SHOWN)
        return f"is a text file, not {_WANTED}: it begins '{shown}'", _AUTHORS
    if head.startswith(PICKLES) or is_safetensors(head):
        return f"is a checkpoint, not {_WANTED}", _AUTHORS
    return f"is not {_WANTED} of any known format", _AUTHORS


def described_archive(names: Collection[str]) -> Unsuitable:
    """What a zip archive with these files is, where it is no checkpoint of torch."""
    if any(name.endswith("/constants.pkl") or name == "constants.pkl" for name in names):
        return Unsuitable(
            "is a TorchScript program, not a checkpoint", "Pass the file with the weights."
        )
    if any(name.endswith("model.weights.h5") for name in names):
        return Unsuitable("is a Keras model, not a checkpoint of torch", _WEIGHTS)
    if names and all(name.endswith(".npy") for name in names):
        return Unsuitable("is an archive of NumPy arrays, not a checkpoint", _WEIGHTS)
    if any(name.endswith("/.format_version") or "archive_format" in name for name in names):
        return Unsuitable("is a program that torch.export wrote, not a checkpoint", _WEIGHTS)
    return Unsuitable("is a zip archive without a checkpoint of torch in it", _UNPACK)

"""Statistics of references: .npz and .npy as numpy writes them."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np

from lambda_search.metrics.references.statistics import read_statistics
from tests.fuzz.damage import HUGE
from tests.fuzz.damage import damaged

NAME = "statistics"


def healthy(folder):
    path = folder / "reference.npz"
    path.write_bytes(_whole())
    return path


def read(path):
    read_statistics(path)


def cases(rng):
    whole = _whole()
    while True:
        choice = rng.random()
        if choice < 0.5:
            what, changed = damaged(whole, rng)
        else:
            what, changed = _claimed(rng)
        yield what, "a.npz", changed


def _whole():
    out = io.BytesIO()
    np.savez(out, mu=np.zeros(8), sigma=np.eye(8))
    return out.getvalue()


def _claimed(rng):
    """An archive whose arrays claim other sizes, types and orders than they have."""
    mean = _array(rng.choice(("<f8", "|O", "<U9", "<c16", "<f4", "<f2")), _shape(rng), rng)
    sigma = _array("<f8", _shape(rng), rng)
    out = io.BytesIO()
    pack = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", pack) as archive:
        archive.writestr("mu.npy", mean)
        archive.writestr("sigma.npy", sigma)
    return "claims", out.getvalue()[: 1 << 20]


def _shape(rng):
    return rng.choice(((8,), (8, 8), (0,), (-1,), (HUGE[rng.randrange(7)],), (1 << 20, 1 << 20)))


def _array(kind, shape, rng):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        header = header + " " * rng.choice((100, 60_000))
    text = header.encode() + b"\n"
    data = bytes(rng.choice((0, 64, 512, 40_000_000 if rng.random() < 0.1 else 8)))
    return b"\x93NUMPY\1\0" + struct.pack("<H", min(len(text), 65_535)) + text + data

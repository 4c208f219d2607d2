"""Images as references are made of them: a folder, a .zip, or an .npz."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image

from lambda_search.metrics.references.images import open_images
from tests.fuzz.damage import damaged

NAME = "images"
_KINDS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")


def healthy(folder):
    path = folder / "images.zip"
    path.write_bytes(_packed(_pictures()))
    return path


def read(path):
    for _ in open_images(path).batches(64):
        pass


def cases(rng):
    whole = _pictures()
    arrays = io.BytesIO()
    np.savez(arrays, np.zeros((4, 16, 16, 3), np.uint8))
    while True:
        files = dict(whole)
        for name in rng.sample(sorted(files), rng.choice((1, 1, 3))):
            what, files[name] = damaged(files[name], rng)
            what = f"{name}: {what}"
        choice = rng.random()
        if choice < 0.4:
            yield what, "a", files
        elif choice < 0.7:
            yield f"zip, {what}", "a.zip", _packed(files)
        elif choice < 0.85:
            what, changed = damaged(_packed(whole), rng)
            yield f"zip, {what}", "a.zip", changed
        else:
            what, changed = damaged(arrays.getvalue(), rng)
            yield f"npz, {what}", "a.npz", changed


def _pictures():
    """One of each kind, by name."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found = {}
    for kind in _KINDS:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        found[f"a.{kind.lower()}"] = out.getvalue()
    out = io.BytesIO()
    np.save(out, pixels)
    return found | {"a.npy": out.getvalue()}


def _packed(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()

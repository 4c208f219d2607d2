"""Hostile files of images and moments: one message, in bounds.

The budget: at most 1 GB and 10 s above a healthy file of its format, for any file of at most 1 MB.
Each is read in a process of its own, whose peak of memory is measured; of time only the limit is
seen, as the timeout of the process.
"""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from lambda_search.errors import UsageError
from lambda_search.metrics.references.images import open_images
from lambda_search.metrics.references.statistics import read_statistics
from tests.metrics.strays import STRAYS
from tests.metrics.test_images import encoded
from tests.metrics.test_images import pack
from tests.metrics.test_images import pictures
from tests.metrics.test_images import put
from tests.metrics.test_images import refused

READ = """
import json, resource, sys
from pathlib import Path
import torch
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.images import open_images
from lambda_search.metrics.references.statistics import read_statistics

bundled = load_extractor("bundled", torch.device("cpu"))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bundled(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
told, before = [], peak()
for name in sys.argv[2:]:
    try:
        if sys.argv[1] == "moments":
            read_statistics(Path(name))
        else:
            images = open_images(Path(name))
            for batch in images.batches(64):
                bundled(batch)
        told.append("read")
    except UsageError as error:
        told.append(str(error))
print(json.dumps([told, (peak() - before) // 1024]))
"""
MEGABYTES = 1000


def bounded(kind, *paths):
    """What each is told, after reading all of them in bounds."""
    assert all(path.stat().st_size <= 2**20 for path in paths if path.is_file())
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
    )
    told, grown = json.loads(done.stdout)
    assert grown < MEGABYTES
    return told


def header(shape, descr="|u1", fortran=False):
    stream = io.BytesIO()
    words = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, words)
    return stream.getvalue()


def archive(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as written:
        for name, content in members.items():
            with written.open(name, "w", force_zip64=True) as stream:
                for part in content if isinstance(content, list) else [content]:
                    stream.write(part)
    return path


def blank(side, kind="PNG", mode="1", **options):
    return encoded(Image.new(mode, (side, side)), kind, **options)


ZEROS = [bytes(2**20)] * 400
FEWER = [bytes(2**20)] * 64


@pytest.mark.slow
def test_arrays_that_claim_or_unfold_to_gigabytes(tmp_path):
    arrays = {
        "claim": [header((10**6, 2**10, 2**10, 3))],
        "many": [header((10**12, 1, 1, 1))],
        "wide": [header((2, 10**9, 10**9, 3))],
        "less": [header((-1, 4, 4, 3))],
        "zeros": [header((400, 2**10, 2**10, 1)), *ZEROS],
        "dots": [header((400 * 2**20, 1, 1, 1)), *ZEROS],
    }
    paths = [archive(tmp_path / f"{n}.npz", {"arr_0.npy": one}) for n, one in arrays.items()]
    told = bounded("images", *paths)
    assert all(str(path) in one and "\n" in one for path, one in zip(paths, told, strict=True))
    assert "unfolds to" in told[4] and "unfolds to" in told[5]


@pytest.mark.slow
def test_moments_that_claim_or_unfold_to_gigabytes(tmp_path):
    good = {
        "mu.npy": header((3,), "<f8") + bytes(24),
        "sigma.npy": header((3, 3), "<f8") + np.eye(3).tobytes(),
    }
    bad = {
        "claim": ("sigma", [header((30_000, 30_000), "<f8")]),
        "zeros": ("sigma", [header((8192, 8192)), *FEWER]),
        "long": ("mu", [header((2**23,), "<f8"), *FEWER]),
        "text": ("source", [header((), f"<U{2**24}"), *FEWER]),
        "kept": ("features", [header((2**24, 3)), *FEWER]),
        "object": ("n", [header((), "|O")]),
    }
    paths = [
        archive(tmp_path / f"{name}.npz", good | {f"{array}.npy": content})
        for name, (array, content) in bad.items()
    ]
    for path, one in zip(paths, bounded("moments", *paths), strict=True):
        assert one.startswith(f"The reference {path} cannot be read: ")


@pytest.mark.slow
def test_archives_that_unfold_to_gigabytes(tmp_path):
    flat, many = blank(5000), blank(2**12)
    array = [header((2**10, 400 * 2**10)), *ZEROS]
    paths = [
        archive(tmp_path / "one.zip", {"a.png": ZEROS, "b.png": b"x"}),
        archive(tmp_path / "bz2.zip", {"a.png": ZEROS * 2, "b.png": b"x"}, zipfile.ZIP_BZIP2),
        archive(tmp_path / "array.zip", {"a.npy": array, "b.npy": b"x"}),
        archive(tmp_path / "many.zip", {f"{i}.png": many for i in range(400)}),
        archive(tmp_path / "flat.zip", {f"{i}.png": flat for i in range(60)}, zipfile.ZIP_STORED),
    ]
    for path, one in zip(paths, bounded("images", *paths), strict=True):
        assert str(path) in one and "unfolds to" in one


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB", "CMYK"])
def test_images_just_under_the_limit(tmp_path, mode):
    """As large as one may be: slow, but in bounds."""
    kinds = {"CMYK": ("JPEG", "jpg")}
    kind, suffix = kinds.get(mode, ("PNG", "png"))
    content = blank(5792, kind, mode)
    folder = put(tmp_path / "real", {f"{i}.{suffix}": content for i in range(3)})
    assert bounded("images", folder) == ["read"]


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("GIF", "gif"), ("JPEG", "jpg")])
def test_images_over_the_limit_are_refused_unread(tmp_path, kind, suffix):
    content = blank(6000, kind, "L")
    folder = put(tmp_path / "real", {f"{i}.{suffix}": content for i in range(16)})
    assert refused(folder).startswith(f"0.{suffix} in {folder} cannot be read: its 6000 × 6000 pi")


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    content = encoded(Image.new("L", (4096, 4096)), "JPEG", progressive=True)
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    scan = content[start:end]
    folder = put(
        tmp_path / "real", {"a.jpg": content[:end] + scan * 4000 + content[end:], "b.jpg": content}
    )
    assert "too many scans" in refused(folder)


def test_a_tile_larger_than_its_image_is_refused(tmp_path):
    stream = io.BytesIO()
    data = zlib.compress(bytes(2**20))
    tags = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, 40_000), (323, 4, 40_000), (324, 4, 8), (325, 4, len(data))]
    stream.write(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data)
    stream.write(struct.pack("<H", len(tags)))
    for tag, kind, value in tags:
        stream.write(struct.pack("<HHII", tag, kind, 1, value))
    stream.write(bytes(4))
    folder = put(tmp_path / "real", {"a.tif": stream.getvalue(), "b.tif": stream.getvalue()})
    assert "pixels are more than" in refused(folder)


# Moments that are none


BAD = {
    "NaN": {"sigma": np.full((3, 3), np.nan)},
    "infinite": {"mu": np.array([0, np.inf, 0])},
    "asymmetric": {"sigma": np.eye(3) + np.eye(3, k=1)},
    "negative variance": {"sigma": np.diag([1.0, -1, 1])},
    "negative eigenvalue": {"sigma": np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])},
    "structured": {"mu": np.zeros(3, [("x", "f8")])},
    "complex": {"sigma": np.eye(3).astype(complex)},
    "objects": {"mu": np.array([1, 2, 3], object)},
    "texts": {"mu": np.array(["1", "2", "3"])},
    "times": {"mu": np.zeros(3, "M8[s]")},
    "scalar": {"mu": np.float64(0)},
    "four axes": {"sigma": np.zeros((1, 1, 3, 3))},
    "empty": {"mu": np.zeros(0), "sigma": np.zeros((0, 0))},
    "another width": {"sigma": np.eye(4)},
    "counts": {"n": np.array([1, 2])},
    "a count that is none": {"n": np.array("many")},
    "a shape that is none": {"shape": np.array([1, 2])},
    "a name that is none": {"extractor": np.array(7)},
}


@pytest.mark.parametrize("arrays", BAD.values(), ids=BAD)
def test_what_makes_no_gaussian_is_refused_by_name(tmp_path, arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **{"mu": np.zeros(3), "sigma": np.eye(3)} | arrays)
    with pytest.raises(UsageError) as caught:
        read_statistics(path)
    assert caught.value.cause.startswith(f"The reference {path} cannot be read: ")
    assert caught.value.hint and "object at" not in caught.value.cause


def test_rounding_is_no_negative_eigenvalue(tmp_path):
    x = np.random.default_rng(0).standard_normal((9, 400)).astype(np.float32) + 30
    for name, sigma in {
        "few": np.cov(x.T),
        "none": np.cov(np.ones((9, 400)).T),
        "single": np.cov(x.T).astype(np.float32),
    }.items():
        np.savez(tmp_path / f"{name}.npz", mu=x.mean(0), sigma=sigma)
        assert len(read_statistics(tmp_path / f"{name}.npz").mean) == 400


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4"])
def test_other_numbers_in_either_order_are_read(tmp_path, dtype):
    sigma = np.diag([1, 2, 3]).astype(dtype)
    np.savez(tmp_path / "a.npz", mu=np.arange(3).astype(dtype), sigma=np.asfortranarray(sigma))
    found = read_statistics(tmp_path / "a.npz")
    assert found.mean.tolist() == [0, 1, 2] and np.array_equal(found.cov, np.diag([1.0, 2, 3]))


def test_pipes_and_devices_are_no_references(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    (tmp_path / "b.npz").symlink_to("/dev/zero")
    for name in "ab":
        with pytest.raises(UsageError, match="not a file"):
            read_statistics(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(("what", "content"), STRAYS.items())
def test_what_lies_in_the_place_of_a_reference_is_named(tmp_path, what, content):
    for name in ("a.npz", "a.zip", "a"):
        path = tmp_path / name
        path.write_bytes(content)
        said = refused(path)
        assert said.startswith(f"{path} is a {what}, not an archive of images")
    with pytest.raises(UsageError, match=f"is a {what}, not an archive of moments") as caught:
        read_statistics(tmp_path / "a.npz")
    assert caught.value.hint


def test_a_link_to_an_archive_is_read_whatever_that_is_called(tmp_path):
    """As the hub's cache keeps them."""
    files = {f"{i}.png": encoded(one) for i, one in enumerate(pictures(3))}
    for name in ("a.zip", "a.npz"):
        blob = tmp_path / f"{name.replace('.', '')}blob"
        if name == "a.zip":
            pack(blob, files)
        else:
            np.savez(blob.with_suffix(".npz"), pictures(3))
            blob.with_suffix(".npz").rename(blob)
        (tmp_path / name).symlink_to(blob)
        assert len(open_images((tmp_path / name).resolve()).names) == 3

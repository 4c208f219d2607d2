"""Feature files: what is not exactly what was written is not there."""

import io
import os

import numpy as np
import pytest

from lambda_search.work.features import FeatureFiles

SHAPE = (16, 6)
FEATURES = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    found = FeatureFiles(tmp_path / "features")
    found.put("family", "name", FEATURES)
    return found


@pytest.fixture
def file(tmp_path, files):
    [path] = (tmp_path / "features").rglob("*.npy")
    return path


def test_what_is_put_is_got(files, file):
    assert files.has("family", "name")
    assert np.array_equal(files.get("family", "name", SHAPE), FEATURES)
    assert np.array_equal(np.load(file), FEATURES), "numpy reads it too"
    assert not files.has("family", "other") and not files.has("other", "name")
    assert files.get("family", "other", SHAPE) is None


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def claiming(shape):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + head.encode()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


DAMAGE = {
    "fewer rows": lambda content: saved(FEATURES[:10]),
    "narrower": lambda content: saved(FEATURES[:, :3]),
    "float64": lambda content: saved(FEATURES.astype(float)),
    "NaN": lambda content: saved(FEATURES * np.nan),
    "cut short": lambda content: content[:100],
    "one byte more": lambda content: content + b"\0",
    "a bit of a number": lambda content: flipped(content, -9),
    "a bit of the header": lambda content: flipped(content, 20),
    "a bit of the checksum": lambda content: flipped(content, -1),
    "a zip": lambda content: b"PK\x03\x04" + b"0" * 100,
    "a header that claims gigabytes": lambda content: claiming((99999999999, 128)),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_removed(files, file, damage):
    file.write_bytes(damage(file.read_bytes()))
    assert files.get("family", "name", SHAPE) is None
    assert not files.has("family", "name")
    files.put("family", "name", FEATURES)
    assert np.array_equal(files.get("family", "name", SHAPE), FEATURES)


def test_another_shape_is_not_what_was_written(files):
    assert files.get("family", "name", (16, 5)) is None


def test_features_that_are_not_finite_are_not_read(files):
    files.put("family", "nan", FEATURES * np.inf)
    assert files.get("family", "nan", SHAPE) is None


def test_a_folder_in_its_place_is_removed(files, file):
    file.unlink()
    (file / "deep").mkdir(parents=True)
    assert files.get("family", "name", SHAPE) is None
    files.put("family", "name", FEATURES)
    assert files.get("family", "name", SHAPE) is not None


def test_what_no_study_needs_is_swept(files, file, tmp_path):
    files.put("needed", "a", FEATURES)
    (tmp_path / "features" / "needed" / "a.npy.x.part").write_bytes(b"1")
    (tmp_path / "features" / "ab").mkdir()  # as the first release laid them
    (tmp_path / "features" / "ab" / "abc.npy").write_bytes(b"1")
    os.utime(tmp_path / "features" / "ab", (0, 0))
    files.put("another store's", "a", FEATURES)
    files.sweep({"needed", "unknown"}, {"family", "needed"})
    left = sorted(path.name for path in (tmp_path / "features").iterdir())
    assert left == ["another store's", "needed"] and files.has("needed", "a")
    files.sweep(set(), {"needed", "another store's"})
    assert list((tmp_path / "features").iterdir()) == []
    FeatureFiles(tmp_path / "none").sweep(set())

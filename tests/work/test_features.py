"""Feature files, in every kind of place: what is not exactly what was written is not there."""

import errno
import io
import os
import pickle
import resource
import secrets
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from lambda_search.errors import UsageError
from lambda_search.work.features import FeatureFiles
from lambda_search.work.features import Place
from lambda_search.work.storage import FolderStorage
from lambda_search.work.storage import PlaceAway
from lambda_search.work.storage import RemoteStorage

SHAPE = (16, 6)
FEATURES = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
KINDS = {"path": "", "file": "file://", "memory": "memory:/"}


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    """An address of each kind; nothing is there."""
    return f"{KINDS[request.param]}{tmp_path / 'features'}"


@pytest.fixture
def files(url):
    found = FeatureFiles(url)
    found.put("family", "name", FEATURES)
    return found


class Raw:
    """What lies at the address, by fsspec alone."""

    def __init__(self, url):
        self.fs, self.root = fsspec.url_to_fs(url)
        self.path = f"{self.root}/family/name.npy"

    def __call__(self, content=None):
        if content is None:
            return self.fs.cat_file(self.path)
        return self.fs.pipe_file(self.path, content)

    def names(self):
        return sorted(one.removeprefix(f"{self.root}/") for one in self.fs.find(self.root))


@pytest.fixture
def raw(url, files):
    return Raw(url)


def test_what_is_put_is_got(files, raw):
    assert files.has("family", "name")
    assert np.array_equal(files.get("family", "name", SHAPE), FEATURES)
    assert np.array_equal(np.load(io.BytesIO(raw())), FEATURES), "numpy reads it too"
    assert not files.has("family", "other") and not files.has("other", "name")
    assert files.get("family", "other", SHAPE) is None and raw.names() == ["family/name.npy"]


def test_who_comes_later_finds_it(files, url):
    assert FeatureFiles(url).has("family", "name")
    assert np.array_equal(FeatureFiles(url).get("family", "name", SHAPE), FEATURES)


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
def test_a_damaged_file_is_removed(files, raw, damage):
    raw(damage(raw()))
    assert files.get("family", "name", SHAPE) is None
    assert not files.has("family", "name", afresh=True) and raw.names() == []
    files.put("family", "name", FEATURES)
    assert np.array_equal(files.get("family", "name", SHAPE), FEATURES)


def test_another_shape_is_not_what_was_written(files):
    assert files.get("family", "name", (16, 5)) is None


def test_features_that_are_not_finite_are_not_read(files):
    files.put("family", "nan", FEATURES * np.inf)
    assert files.get("family", "nan", SHAPE) is None


def test_what_a_worker_says_is_there_until_it_is_looked_for(files, url):
    assert not files.has("family", "other")
    FeatureFiles(url).put("family", "other", FEATURES)  # by another process
    assert files.has("family", "other", afresh=True)
    files.note("family", "other")
    assert files.has("family", "other")
    FeatureFiles(url).drop("family")
    assert files.has("family", "other") and not files.has("family", "other", afresh=True)


def test_a_family_that_is_dropped_is_gone(files, raw):
    files.put("other", "name", FEATURES)
    files.note("family", "name")
    files.drop("family")
    files.drop("unknown")
    assert raw.names() == ["other/name.npy"] and files.get("family", "name", SHAPE) is None


def test_what_is_done_is_swept(files, raw):
    for family in ("needed", "another store's"):
        files.put(family, "a", FEATURES)
    files.sweep({"needed", "unknown"}, {"family", "needed"})
    assert raw.names() == ["another store's/a.npy", "needed/a.npy"]
    files.sweep(set(), {"needed", "another store's"})
    assert raw.names() == []


def test_a_place_is_known_by_its_mark(files, url, raw):
    """Tasks name it; a worker that sees another place, or only its path, says so."""
    place = pickle.loads(pickle.dumps(files.place))
    assert place == files.place and raw.names() == sorted(["family/name.npy", place.mark])
    assert np.array_equal(place.open().get("family", "name", SHAPE), FEATURES)
    elsewhere = Place(f"{url}/elsewhere", place.mark)
    with pytest.raises(PlaceAway, match="does not see the driver's features") as caught:
        elsewhere.open()
    assert "--features or LAMBDA_SEARCH_FEATURES" in caught.value.hint
    files.sweep({"family"})
    assert place.open() is not None, "in use"
    files.close()
    assert raw.names() == ["family/name.npy"]
    with pytest.raises(PlaceAway):
        place.open()
    assert files.place.mark != place.mark, "it can be opened again"


def test_a_host_without_what_reaches_an_address_does_not_see_it():
    with pytest.raises(PlaceAway, match="Features cannot lie at nowhere://bucket/x"):
        Place("nowhere://bucket/x").open()


# Folders


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


def test_a_folder_in_its_place_is_removed(folder):
    files = FeatureFiles(folder)
    (folder / "family" / "name.npy" / "deep").mkdir(parents=True)
    assert files.get("family", "name", SHAPE) is None
    files.put("family", "name", FEATURES)
    assert files.get("family", "name", SHAPE) is not None


def test_what_nobody_added_to_lately_is_swept(folder):
    files = FeatureFiles(folder)
    lately, needed, old = "a" * 64, "b" * 64, "c" * 64
    for family in (lately, needed, old):
        files.put(family, "a", FEATURES)
    (folder / needed / "a.npy.x.part").write_bytes(b"1")
    killed, mark = f"{'d' * 32}.mark", files.place.mark
    (folder / killed).touch()
    for one in (needed, old, killed, mark):
        os.utime(folder / one, (0, 0))
    files.sweep({needed, "e" * 64})
    assert {path.name for path in folder.iterdir()} == {lately, needed, mark}
    assert files.has(needed, "a") and files.place.open() is not None
    FeatureFiles(folder / "none").sweep(set())


def test_what_others_keep_in_the_folder_is_theirs(folder):
    """Somebody may name a folder that has other things in it."""
    files = FeatureFiles(folder)
    (folder / "thesis").mkdir(parents=True)
    for other in ("notes.txt", "thesis/chapter.tex", "0" * 40, f"{'0' * 64}.csv", "x.mark"):
        (folder / other).write_text("years of work")
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    before = sorted(folder.rglob("*"))
    files.sweep(set())
    assert sorted(folder.rglob("*")) == before


def test_features_are_noted_while_families_are_dropped():
    files = FeatureFiles("memory://noted")
    for number in range(500):
        files.note("family", str(number))
    ended = threading.Event()

    def note():
        while not ended.is_set():
            files.note("other", secrets.token_hex(4))

    beside = threading.Thread(target=note)
    beside.start()
    try:
        for number in range(50):
            files.drop(f"family {number}")
    finally:
        ended.set()
        beside.join()


def test_a_file_that_cannot_be_read_just_now_stays(folder, monkeypatch):
    files = FeatureFiles(folder)
    files.put("family", "name", FEATURES)

    def stale(path, mode):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", stale)
        assert files.get("family", "name", SHAPE) is None
    assert np.array_equal(files.get("family", "name", SHAPE), FEATURES)


def test_a_folder_that_cannot_be_written_to_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    files = FeatureFiles(tmp_path / "file" / "features")
    for action in (lambda: files.put("family", "name", FEATURES), lambda: files.place):
        with pytest.raises(PlaceAway, match=r"Features cannot be written to .*features"):
            action()


def test_a_write_that_breaks_off_leaves_nothing(folder):
    """A limit of this process's files for a disk that is full: the system writes a part of it."""
    files = FeatureFiles(folder)
    files.put("family", "small", FEATURES)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(PlaceAway, match="File too large"):
            files.put("family", "large", np.ones((100, 1000), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.name for one in folder.rglob("*.*")] == ["small.npy"]


# Addresses


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere://bucket/x", "Protocol not known: nowhere"),
        ("abfs://container/x", "adlfs"),
    ],
)
def test_an_address_that_cannot_be_is_one_error(url, said):
    with pytest.raises(UsageError, match=said):
        FeatureFiles(url)


def test_addresses_lead_to_what_they_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("here", f"file://{tmp_path}/here", f"{tmp_path}/here"):
        files = FeatureFiles(url)
        assert isinstance(files.storage, FolderStorage)
        files.put("family", "name", FEATURES)
        assert [*tmp_path.rglob("*.npy")] == [tmp_path / "here" / "family" / "name.npy"]
        files.drop("family")
    assert isinstance(FeatureFiles("memory://here").storage, RemoteStorage)


def test_a_store_that_cannot_be_reached_is_one_error(monkeypatch):
    """Whatever its library raises."""
    from fsspec.implementations.memory import MemoryFileSystem

    def away(*_, **__):
        raise RuntimeError("Unable to locate credentials. password=hidden")

    for name in ("cat_file", "pipe_file", "ls", "exists"):
        monkeypatch.setattr(MemoryFileSystem, name, away)
    files = FeatureFiles("memory://away")
    for action in (
        lambda: files.get("family", "name", SHAPE),
        lambda: files.put("family", "name", FEATURES),
        lambda: files.has("family", "name"),
        lambda: files.has("family", "name", afresh=True),
    ):
        with pytest.raises(PlaceAway, match="Unable to locate credentials") as caught:
            action()
        assert "memory://away" in str(caught.value) and "hidden" not in str(caught.value)

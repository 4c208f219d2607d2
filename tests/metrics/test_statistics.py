"""Files of statistics: whose they are, which extractor they belong to, and how to say so."""

import hashlib
import http.server
import io
import threading
from pathlib import Path

import numpy as np
import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.metrics.references.installed import kept_references
from lambda_search.metrics.references.load import load_reference
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.metrics.references.statistics import mark
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.metrics.references.statistics import write_statistics

MINE, THEIRS = "f" * 64, "0" * 64
LEGACY, CLEAN, OWN = "legacy_tensorflow", "clean", ""


class Named:
    """An extractor as far as files of statistics go."""

    def __init__(self, published=OWN, dim=2048, fingerprint=MINE, name="mine"):
        self.published, self.dim, self.fingerprint, self.name = published, dim, fingerprint, name


def gaussian(d, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, 8))
    return {"mu": rng.standard_normal(d), "sigma": root @ root.T}


def refused(name, extractor, kind=UsageError):
    """(cause, hint) of the error that the reference provokes."""
    with pytest.raises(kind) as caught:
        load_reference(str(name), extractor)
    assert caught.value.cause
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Files as EDM publishes them and as ADM's evaluator does, with their moments."""
    folder = tmp_path_factory.mktemp("published")
    arrays = gaussian(2048)
    np.savez(folder / "edm.npz", **arrays)
    images = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    spatial = {"mu_s": np.zeros(5), "sigma_s": np.eye(5)}
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez(folder / "adm.npz", arr_0=images, activations=np.zeros((4, 9)), **single, **spatial)
    return folder, arrays


@pytest.mark.parametrize(("name", "kind"), [("edm.npz", np.float64), ("adm.npz", np.float32)])
def test_files_of_edm_and_adm_belong_to_inception_legacy(published, name, kind):
    folder, arrays = published
    found = load_reference(str(folder / name), Named(LEGACY))
    assert (found.dim, found.count) == (2048, None)
    assert (
        found.fingerprint
        == hashlib.sha256(
            b"lambda_search: moments, 1\n" + found.mean.tobytes() + found.cov.tobytes()
        ).hexdigest()
    )
    assert found.mean.dtype == found.cov.dtype == np.float64
    assert np.array_equal(found.mean, arrays["mu"].astype(kind))
    assert np.array_equal(found.cov, arrays["sigma"].astype(kind))
    assert found.kernel() is None


@pytest.mark.parametrize("word", [CLEAN, OWN, "clean_clip_vit_b_32"])
@pytest.mark.parametrize("name", ["edm.npz", "adm.npz"])
def test_with_another_inception_they_are_refused(published, name, word):
    path = published[0] / name
    cause, hint = refused(path, Named(word, name="inception-clean"))
    assert str(path) in cause and "belong to inception-legacy" in cause
    assert "does not say that inception-clean made it" in cause
    assert f"lambda-search reference mark {path} --extractor NAME" in hint


@pytest.mark.parametrize("word", [LEGACY, CLEAN, OWN])
@pytest.mark.parametrize("d", [1, 64, 512, 1024, 2047])
def test_narrower_files_that_say_nothing_are_taken(tmp_path, d, word):
    np.savez(tmp_path / "a.npz", **gaussian(d))
    found = load_reference(str(tmp_path / "a.npz"), Named(word, dim=d))
    assert np.array_equal(found.mean, gaussian(d)["mu"])


@pytest.mark.parametrize("says", [{}, {"extractor": MINE}], ids=["unmarked", "marked"])
@pytest.mark.parametrize("word", [LEGACY, CLEAN, OWN])
def test_another_width_is_refused_with_both_widths(tmp_path, word, says):
    np.savez(tmp_path / "a.npz", **gaussian(768), **says)
    cause, hint = refused(tmp_path / "a.npz", Named(word, name="dinov2", dim=1024))
    assert "768 wide" in cause and "dinov2 are 1024 wide" in cause
    assert "extractor" in hint


@pytest.mark.parametrize("word", [LEGACY, CLEAN, OWN])
@pytest.mark.parametrize("name", ["", "theirs"])
def test_a_file_that_says_another_extractor_is_refused(tmp_path, word, name):
    np.savez(tmp_path / "a.npz", **gaussian(5), extractor=THEIRS, extractor_name=name)
    cause, _ = refused(tmp_path / "a.npz", Named(word, dim=5, name="inception-legacy"))
    assert "another extractor than" in cause.replace(" (theirs)", "")
    assert ("(theirs)" in cause) == (name == "theirs")
    assert "inception-legacy" in cause
    assert "resize" in cause and "value range" in cause


@pytest.mark.slow
def test_a_file_that_says_this_extractor_is_taken_whatever_its_width(tmp_path):
    np.savez(tmp_path / "a.npz", **gaussian(2048), extractor=MINE)
    assert load_reference(str(tmp_path / "a.npz"), Named(OWN)).dim == 2048
    assert load_reference(str(tmp_path / "a.npz"), Named(CLEAN)).dim == 2048


@pytest.mark.parametrize("place", ["mu", "sigma"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_moments_that_are_no_numbers_are_refused(tmp_path, place, value):
    arrays = gaussian(5)
    arrays[place].flat[2] = value
    np.savez(tmp_path / "a.npz", **arrays)
    cause, _ = refused(tmp_path / "a.npz", Named(LEGACY, dim=5), LambdaSearchError)
    assert "NaN or infinity" in cause


def test_images_that_are_named_as_moments_are_told_apart(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((4, 8, 8, 3), np.uint8))
    cause, hint = refused(tmp_path / "a.npz", Named(LEGACY))
    assert f"The reference {tmp_path / 'a.npz'} cannot be read" in cause
    assert "images:PATH" in hint


def test_what_is_written_is_read_again(tmp_path):
    features = np.random.default_rng(2).standard_normal((7, 3)).astype(np.float32)
    given = Statistics(*gaussian(3).values(), 12, features, MINE, "mine", "/real")
    write_statistics(tmp_path / "a.npz", given)
    found = read_statistics(tmp_path / "a.npz")
    for name in ("mean", "cov", "features"):
        assert np.array_equal(getattr(found, name), getattr(given, name))
        assert getattr(found, name).dtype == getattr(given, name).dtype
    assert (found.count, found.extractor) == (12, MINE)
    assert (found.extractor_name, found.source) == ("mine", "/real")
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_what_is_not_known_is_not_written(tmp_path):
    write_statistics(tmp_path / "a.npz", Statistics(*gaussian(3).values()))
    found = read_statistics(tmp_path / "a.npz")
    assert (found.count, found.features, found.extractor) == (None, None, None)
    assert (found.extractor_name, found.source) == ("", "")
    with np.load(tmp_path / "a.npz") as arrays:  # so that EDM's evaluator reads it too
        assert {"mu", "sigma"} <= set(arrays)


# clean-fid's


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


class Server:
    """Serves `files` by name, and writes down what it is asked for."""

    def __init__(self):
        self.files, self.asked = {}, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/stats/")
                server.asked.append(name)
                content = server.files.get(name)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/stats/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch):
    """A server in the place of clean-fid's, and a network that may be asked."""
    opened = Server()
    monkeypatch.setattr("lambda_search.metrics.references.load._CLEAN_FID_URL", opened.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield opened
    opened.close()


CIFAR = "clean-fid:cifar10/train/32"
FILES = {
    CLEAN: "cifar10_clean_train_32.npz",
    LEGACY: "cifar10_legacy_tensorflow_train_32.npz",
    "clean_clip_vit_b_32": "cifar10_clean_clip_vit_b_32_train_32.npz",
}


@pytest.mark.parametrize(("word", "file"), FILES.items(), ids=FILES)
def test_statistics_of_clean_fid_are_fetched_once(server, home, word, file):
    server.files = {name: npz(**gaussian(6, seed)) for seed, name in enumerate(FILES.values())}
    for name in (CIFAR, CIFAR, "clean-fid:CIFAR10/train/32"):
        found = load_reference(name, Named(word, dim=6))
        assert found.name == name
        with np.load(io.BytesIO(server.files[file])) as arrays:
            assert np.array_equal(found.mean, arrays["mu"])
            assert np.array_equal(found.cov, arrays["sigma"])
        with np.load(io.BytesIO(server.files[file])) as arrays:
            assert np.array_equal(found.mean, arrays["mu"])
    assert server.asked == [file]
    folder = home / "references" / "clean-fid"
    kept = [path.name for path in folder.iterdir() if path.suffix != ".lock"]
    assert kept == [file]
    assert (folder / file).read_bytes() == server.files[file]
    listed = {one.path: one for one in kept_references(home / "references")}
    assert (listed[folder / file].name, listed[folder / file].dim) == (CIFAR, 6)


BROKEN = {
    "a page": b"<html>Not here any more</html>",
    "nothing": b"",
    "cut": npz(**gaussian(6))[:-40],
    "other arrays": npz(m=np.zeros(6), s=np.eye(6)),
    "NaN": npz(mu=np.full(6, np.nan), sigma=np.eye(6)),
    "shapes": npz(mu=np.zeros(6), sigma=np.eye(5)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_fetched_and_is_no_statistics_is_thrown_away(server, home, content):
    server.files[FILES[CLEAN]] = content
    cause, hint = refused(CIFAR, Named(CLEAN, dim=6), LambdaSearchError)
    assert server.url + FILES[CLEAN] in cause
    assert ".part" not in cause + hint, "a file that is gone by now helps nobody"
    assert "images:" not in hint
    folder = home / "references" / "clean-fid"
    assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == []
    server.files[FILES[CLEAN]] = npz(**gaussian(6))
    assert load_reference(CIFAR, Named(CLEAN, dim=6)).dim == 6
    assert server.asked == [FILES[CLEAN]] * 2


def test_statistics_that_clean_fid_does_not_have_are_missing(server, home):
    cause, hint = refused(CIFAR, Named(CLEAN, dim=6), MissingFile)
    assert server.url + FILES[CLEAN] in cause and "Not Found" in cause and hint
    assert list((home / "references" / "clean-fid").glob("*.npz")) == []


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "LAMBDA_SEARCH_OFFLINE"])
def test_offline_it_says_what_to_put_where(server, home, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    server.files[FILES[CLEAN]] = npz(**gaussian(6))
    cause, hint = refused(CIFAR, Named(CLEAN, dim=6), MissingFile)
    place = home / "references" / "clean-fid" / FILES[CLEAN]
    assert "not on this machine" in cause and FILES[CLEAN] in cause
    assert server.url + FILES[CLEAN] in hint and str(place) in hint
    assert server.asked == []
    assert not home.exists()
    place.parent.mkdir(parents=True)
    place.write_bytes(server.files[FILES[CLEAN]])
    found = load_reference(CIFAR, Named(CLEAN, dim=6))
    assert np.array_equal(found.mean, gaussian(6)["mu"])
    assert server.asked == []


def test_where_nothing_may_be_fetched_nothing_is(server, home):
    server.files[FILES[CLEAN]] = npz(**gaussian(6))
    with pytest.raises(MissingFile) as caught:
        load_reference(CIFAR, Named(CLEAN, dim=6), fetch=False)
    assert server.url + FILES[CLEAN] in caught.value.hint
    assert str(home / "references" / "clean-fid" / FILES[CLEAN]) in caught.value.hint
    assert server.asked == [] and not home.exists()


def test_an_extractor_of_ones_own_has_no_published_statistics(server, home):
    cause, hint = refused(CIFAR, Named(OWN, name="inception-clean"))
    assert f"no statistics for the extractor inception-clean@{MINE[:12]}" in cause
    assert "published weights" in hint
    assert server.asked == [] and not home.exists()


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "cifar10",
        "cifar10/train",
        "cifar10/train/32/x",
        "cifar10//32",
        "../train/32",
        "cifar10/train/32 ",
        "cifar10/train/32\n",
        "a?b/train/32",
        "cifar10\\train\\32",
        "ä/ö/32",
    ],
)
def test_a_name_that_clean_fid_cannot_have_is_refused(server, home, rest):
    cause, hint = refused(f"clean-fid:{rest}", Named(CLEAN))
    assert cause == f"clean-fid:{rest} names no statistics of clean-fid."
    assert hint == f"For example: {CIFAR}."
    assert server.asked == [] and not home.exists()


@pytest.mark.parametrize("by_hand", [False, True], ids=["fetched", "by hand"])
def test_statistics_of_clean_fid_of_another_width_are_refused(server, home, by_hand):
    server.files[FILES[CLEAN]] = npz(**gaussian(6))
    if by_hand:
        place = home / "references" / "clean-fid" / FILES[CLEAN]
        place.parent.mkdir(parents=True)
        place.write_bytes(server.files[FILES[CLEAN]])
    cause, _ = refused(CIFAR, Named(CLEAN, dim=7))
    assert "6 wide" in cause and "7 wide" in cause


# Marks


@pytest.fixture
def theirs(tmp_path):
    """A file that does not say what made it."""
    path = tmp_path / "theirs.npz"
    np.savez(path, **gaussian(2048), extra=np.zeros(3))
    return path


@pytest.mark.slow
def test_a_marked_copy_is_taken_by_what_it_names_alone(theirs, tmp_path):
    before, copy = theirs.read_bytes(), tmp_path / "new" / "copy.npz"
    extractor = Named(CLEAN, name="inception-clean")
    mark(theirs, extractor, "CIFAR-10, train", copy)
    assert theirs.read_bytes() == before
    refused(theirs, extractor)
    found = load_reference(str(copy), extractor)
    assert np.array_equal(found.mean, gaussian(2048)["mu"])
    assert np.array_equal(found.cov, gaussian(2048)["sigma"])
    with np.load(copy) as arrays:
        assert str(arrays["extractor"]) == MINE
        assert str(arrays["extractor_name"]) == "inception-clean"
        assert str(arrays["source"]) == "CIFAR-10, train"
    cause, _ = refused(copy, Named(LEGACY, fingerprint=THEIRS))
    assert "another extractor (inception-clean)" in cause


def test_a_mark_keeps_all_that_the_file_says(tmp_path):
    features = np.arange(15, dtype=np.float32).reshape(5, 3)
    given = Statistics(*gaussian(3).values(), 12, features, None, "", "/real")
    write_statistics(tmp_path / "a.npz", given)
    mark(tmp_path / "a.npz", Named(dim=3), "elsewhere", tmp_path / "b.npz")
    found = read_statistics(tmp_path / "b.npz")
    assert (found.count, found.source, found.extractor) == (12, "/real", MINE)
    assert np.array_equal(found.features, features)


@pytest.mark.parametrize("name", ["", "theirs"])
def test_a_mark_is_never_changed(tmp_path, name):
    path, copy = tmp_path / "a.npz", tmp_path / "b.npz"
    write_statistics(path, Statistics(*gaussian(3).values(), None, None, THEIRS, name))
    before = path.read_bytes()
    for out in (copy, path):
        with pytest.raises(UsageError) as caught:
            mark(path, Named(dim=3), "", out)
        assert (name or "another extractor") in caught.value.cause
        assert "never changed" in caught.value.hint
    assert path.read_bytes() == before and not copy.exists()
    mark(path, Named(dim=3, fingerprint=THEIRS), "", copy)
    assert read_statistics(copy).extractor == THEIRS


def test_a_mark_of_another_width_is_refused(theirs, tmp_path):
    with pytest.raises(UsageError) as caught:
        mark(theirs, Named(dim=512, name="clip-vit-b32"), "", tmp_path / "copy.npz")
    assert "2048 wide" in caught.value.cause and "clip-vit-b32 are 512 wide" in caught.value.cause
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.npz"]


def test_only_statistics_are_marked(tmp_path):
    np.savez(tmp_path / "images.npz", np.zeros((4, 8, 8, 3), np.uint8))
    for name in ("images.npz", "none.npz"):
        with pytest.raises(UsageError):
            mark(tmp_path / name, Named(), "", tmp_path / "copy.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["images.npz"]


def test_a_place_that_cannot_be_written_is_named(theirs, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "copy.npz", Path("/proc/copy.npz")):
        with pytest.raises(LambdaSearchError) as caught:
            mark(theirs, Named(), "", place)
        assert f"{place} cannot be written: " in caught.value.cause and caught.value.hint
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "theirs.npz"]


@pytest.mark.parametrize(
    ("file", "published", "dim", "allowed"),
    [
        ("cifar10_clean_train_32", "clean", 2048, True),
        ("cifar10_clean_train_32", LEGACY, 2048, False),
        ("cifar10_legacy_tensorflow_train_32", LEGACY, 2048, True),
        ("cifar10_legacy_pytorch_train_32", LEGACY, 2048, False),
        ("cifar10_clean_clip_vit_b_32_train_32", "clean_clip_vit_b_32", 512, True),
        ("cifar10_clean_train_32", "clean_clip_vit_b_32", 512, False),
    ],
)
def test_a_file_called_as_clean_fid_calls_its_own_counts_as_that(
    tmp_path, file, published, dim, allowed
):
    path = tmp_path / f"{file}.npz"
    np.savez(path, mu=np.zeros(dim), sigma=np.eye(dim))
    extractor = Named(published, dim=dim, name="inception-legacy")
    if allowed:
        assert load_reference(str(path), extractor).dim == dim
    else:
        assert "what their name says" in refused(path, extractor)[0]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("clip-vit-b32", False), ("dinov2", False), ("bundled", True), ("own.pt", True)],
)
def test_published_networks_take_no_unmarked_files_of_their_width(tmp_path, name, allowed):
    path = tmp_path / "real.npz"
    np.savez(path, mu=np.zeros(512), sigma=np.eye(512))
    extractor = Named("", dim=512, name=name)
    if allowed:
        assert load_reference(str(path), extractor).dim == 512
    else:
        assert "does not say" in refused(path, extractor)[0]


@pytest.mark.parametrize("features", [np.zeros((5, 7)), np.full((5, 3), np.nan), np.zeros(3)])
def test_kept_features_that_cannot_be_are_refused(tmp_path, features):
    path = tmp_path / "real.npz"
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3), features=features)
    cause, hint = refused(path, Named("", dim=3))
    assert "features that the reference" in cause and hint == "Make the reference again."


def test_the_same_statistics_have_one_fingerprint_wherever_the_images_lay(tmp_path):
    found = [
        load_reference(str(path), Named("", dim=3)).fingerprint
        for path in (tmp_path / "a.npz", tmp_path / "b.npz")
        if np.savez(path, mu=np.zeros(3), sigma=np.eye(3), source=str(path)) is None
    ]
    assert len(found) == 2 and len(set(found)) == 1

"""Statistics of images as they are made: stopped and gone on with, killed, out of disk."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.references import making
from tests.metrics.test_reference import Toy
from tests.metrics.test_reference import of
from tests.metrics.test_reference import pack
from tests.metrics.test_reference import pictures
from tests.metrics.test_reference import save

N = 2100
CALLS = 33
"""Batches of 63 or 64 images; nine of them make a block."""

ROOT = Path(__file__).parents[2]


class Stopping(Toy):
    """Is interrupted after a number of calls."""

    def __init__(self, log, left):
        super().__init__(log)
        self.left = left

    def __call__(self, images):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().__call__(images)


class Pixels(Toy):
    """The first six bytes of an image: exact, and different for all images."""

    def __call__(self, images):
        super().__call__(images)
        return images.flatten(1)[:, :6].float()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The same images as a folder, an archive and an array."""
    place = tmp_path_factory.mktemp("real")
    pixels = pictures(N)
    folder = save(place / "folder", pixels)
    np.savez(place / "real.npz", pixels)
    return {
        "folder": folder,
        "zip": pack(folder, place / "real.zip"),
        "npz": place / "real.npz",
    }


@pytest.fixture(scope="module")
def whole(real, tmp_path_factory):
    """What an undisturbed run makes of them."""
    toy = Toy(tmp_path_factory.mktemp("whole") / "calls.txt")
    found = {kind: of(path, toy).statistics for kind, path in real.items()}
    assert toy.calls() == CALLS * len(real)
    return found


@pytest.fixture
def always_saved(monkeypatch):
    """The state is kept after every block, not every ten seconds."""
    monkeypatch.setattr(making, "_SAVE_SECONDS", 0.0)


def assert_same_bits(found, expected):
    assert found.mean.tobytes() == expected.mean.tobytes()
    assert found.cov.tobytes() == expected.cov.tobytes()
    assert found.features.tobytes() == expected.features.tobytes()
    assert (found.count, found.extractor) == (expected.count, expected.extractor)


def interrupt(path, cache, log, after):
    """A run that is stopped; returns what it leaves."""
    with pytest.raises(KeyboardInterrupt):
        of(path, Stopping(log, after), cache).load(None)
    assert list(cache.glob("*.npz")) == list(cache.glob("*.part")) == []
    return list(cache.glob("*.partial"))


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
@pytest.mark.parametrize(
    ("after", "blocks"),
    [(5, 0), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((9, 1), (32, 3))), (20, 2)],
)
def test_a_stopped_run_goes_on_to_the_same_bits(
    kind, after, blocks, real, whole, tmp_path, always_saved
):
    cache, toy = tmp_path / "cache", Toy(tmp_path / "second.txt")
    left = interrupt(real[kind], cache, tmp_path / "first.txt", after)
    assert len(left) == min(blocks, 1)
    found = of(real[kind], toy, cache)
    assert_same_bits(found.load(None), whole[kind])
    assert toy.calls() == CALLS - 9 * blocks
    assert [file.name for file in cache.iterdir() if file.suffix != ".lock"] == [
        f"{found.fingerprint}.npz"
    ]
    assert_same_bits(of(real[kind], toy, cache).statistics, whole[kind])
    assert toy.calls() == CALLS - 9 * blocks


def test_it_is_stopped_as_often_as_one_likes(real, whole, tmp_path, always_saved):
    cache, log = tmp_path / "cache", tmp_path / "calls.txt"
    for _ in range(3):
        interrupt(real["zip"], cache, log, 10)
    toy = Toy(log)
    assert_same_bits(of(real["zip"], toy, cache).statistics, whole["zip"])
    assert toy.calls() == 3 * 10 + CALLS - 3 * 9


def test_a_run_that_ends_within_ten_seconds_keeps_no_state(real, tmp_path):
    assert interrupt(real["npz"], tmp_path / "cache", tmp_path / "calls.txt", 32) == []


def test_what_is_the_right_answer(real, whole):
    """So that runs which agree do not agree on something wrong."""
    weight = Toy("unused").weight.double()
    pixels = torch.from_numpy(np.load(real["npz"])["arr_0"]).double().mean(3)
    quarters = pixels.reshape(N, 2, 4, 2, 4).mean((2, 4)).reshape(N, 4)
    features = ((quarters @ weight).abs() + 30).numpy()
    for found in whole.values():
        assert np.allclose(found.mean, features.mean(0), rtol=1e-7, atol=0)
        assert np.allclose(found.cov, np.cov(features.T), rtol=1e-5, atol=1e-6)


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-30],
    "halved": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:700] + bytes([content[700] ^ 0xFF]) + content[701:],
    "no archive": lambda content: b"not an archive",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_not_gone_on_with(damage, real, whole, tmp_path, always_saved):
    cache, toy = tmp_path / "cache", Toy(tmp_path / "second.txt")
    [partial] = interrupt(real["npz"], cache, tmp_path / "first.txt", 20)
    partial.write_bytes(damage(partial.read_bytes()))
    assert_same_bits(of(real["npz"], toy, cache).statistics, whole["npz"])
    assert toy.calls() == CALLS
    assert list(cache.glob("*.partial")) == []


@pytest.mark.parametrize("arrays", [{}, {"n": 3}, {"sums": np.zeros(1, object)}])
def test_a_state_of_another_kind_is_not_gone_on_with(arrays, real, whole, tmp_path, always_saved):
    cache, toy = tmp_path / "cache", Toy(tmp_path / "second.txt")
    [partial] = interrupt(real["npz"], cache, tmp_path / "first.txt", 20)
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)
    assert_same_bits(of(real["npz"], toy, cache).statistics, whole["npz"])
    assert toy.calls() == CALLS


@pytest.mark.slow
def test_images_that_change_between_two_runs_are_begun_anew(real, tmp_path, always_saved):
    folder = Path(shutil.copytree(real["folder"], tmp_path / "real"))
    cache, toy = tmp_path / "cache", Toy(tmp_path / "second.txt")
    interrupt(folder, cache, tmp_path / "first.txt", 20)
    pixels = pictures(N)
    pixels[3] = 255 - pixels[3]
    save(folder, pixels[:4])
    found = of(folder, toy, cache).statistics
    assert toy.calls() == CALLS
    assert_same_bits(found, of(folder, toy).statistics)


def test_images_that_are_renamed_between_two_runs_all_count_once(
    real, whole, tmp_path, always_saved
):
    """Their fingerprint is the same, whatever they are called; their order is another one."""
    folder = Path(shutil.copytree(real["folder"], tmp_path / "real"))
    cache, toy = tmp_path / "cache", Toy(tmp_path / "second.txt")
    interrupt(folder, cache, tmp_path / "first.txt", 20)
    for i, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{'b' if i < N // 2 else 'a'}{file.name}")
    found = of(folder, toy, cache).statistics
    assert np.allclose(found.mean, whole["folder"].mean, rtol=1e-7, atol=0)
    assert np.allclose(found.cov, whole["folder"].cov, rtol=1e-5, atol=1e-6)
    assert toy.calls() == CALLS


def test_progress_rises_to_the_number_of_images(real, tmp_path, always_saved):
    told = []
    of(real["npz"], Toy(tmp_path / "a.txt")).load(lambda *numbers: told.append(numbers))
    assert len(told) == math.ceil(CALLS / 9)
    assert {total for _, total in told} == {N}
    done = [count for count, _ in told]
    assert done == sorted(set(done)) and done[0] >= 512 and done[-1] == N
    again = []
    cache = tmp_path / "cache"
    interrupt(real["npz"], cache, tmp_path / "b.txt", 20)
    of(real["npz"], Toy(tmp_path / "c.txt"), cache).load(lambda *numbers: again.append(numbers))
    assert again == told[2:], "it goes on with the count where it stopped"
    of(real["npz"], Toy(tmp_path / "c.txt"), cache).load(lambda *numbers: again.append(numbers))
    assert again == told[2:], "nothing is done any more"


FULL_DISK = """
import json, os, resource, signal, sys
from pathlib import Path
from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.references import making
from tests.metrics.test_reference import Toy, of

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
images, cache, log, limit, seconds = sys.argv[1:]
making._SAVE_SECONDS = float(seconds)
toy = Toy(log)
of(images, toy)  # what is imported late is imported now
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), most))
try:
    of(images, toy, Path(cache)).load(None)
except LambdaSearchError as error:
    said = [error.cause, error.hint]
else:
    said = []
left = sorted(os.listdir(cache))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
after = of(images, toy, Path(cache)).load(None)
print(json.dumps([said, left, after.cov.tobytes().hex(), after.features.tobytes().hex()]))
"""


def in_a_process(program, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "seconds"),
    [(0, 1e9), (4096, 1e9), (-1, 1e9), (4096, 0)],
    ids=["none", "for the beginning", "for all but a byte", "for the beginning of the state"],
)
def test_a_disk_that_fills_leaves_nothing_half_written(room, seconds, real, whole, tmp_path):
    cache = tmp_path / "cache"
    if room < 0:
        of(real["npz"], Toy(tmp_path / "a.txt"), tmp_path / "size").load(None)
        [file] = (tmp_path / "size").glob("*.npz")
        room = file.stat().st_size - 1
    process = in_a_process(FULL_DISK, real["npz"], cache, tmp_path / "b.txt", room, seconds)
    said, left, cov, features = json.loads(process.communicate(timeout=300)[0])
    assert process.returncode == 0
    [cause, hint] = said
    assert f"The reference's moments cannot be kept in {cache}: " in cause
    assert "LAMBDA_SEARCH_HOME" in hint
    assert [name for name in left if not name.endswith(".lock")] == []
    assert bytes.fromhex(cov) == whole["npz"].cov.tobytes()
    assert bytes.fromhex(features) == whole["npz"].features.tobytes()


KILLED = """
import sys, time
from pathlib import Path
from lambda_search.metrics.references import making
from tests.metrics.test_reference import Toy, of

class Slow(Toy):
    def __call__(self, images):
        time.sleep(0.05)
        return super().__call__(images)

images, cache, log = sys.argv[1:]
making._SAVE_SECONDS = 0.0
of(images, Slow(log), Path(cache)).load(None)
"""


@pytest.mark.slow
def test_a_killed_run_leaves_no_reference_and_the_next_one_goes_on(real, whole, tmp_path):
    cache, toy = tmp_path / "cache", Toy(tmp_path / "calls.txt")
    process = in_a_process(KILLED, real["folder"], cache, toy.log)
    deadline = time.monotonic() + 240
    while not list(cache.glob("*.partial")) and process.poll() is None:
        assert time.monotonic() < deadline, "the process does nothing"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    before = toy.calls()
    assert 9 <= before < CALLS, "it was killed in the middle"
    assert list(cache.glob("*.npz")) == []
    assert_same_bits(of(real["folder"], toy, cache).statistics, whole["folder"])
    assert toy.calls() - before in (CALLS - 9, CALLS - 18, CALLS - 27)


@pytest.mark.parametrize("n", [7, 700, 2000, 2001, 2100, 4100])
def test_features_of_two_thousand_evenly_spread_images_are_kept(n, tmp_path):
    pixels = pictures(n, seed=1)
    np.savez(tmp_path / "real.npz", pixels)
    found = of(tmp_path / "real.npz", Pixels(tmp_path / "calls.txt")).statistics
    kept = found.features
    assert kept.dtype == np.float32
    assert kept.shape == (min(n, 2000), 6)
    every = pixels.transpose(0, 3, 1, 2).reshape(n, -1)[:, :6].astype(np.float32)
    place = {row.tobytes(): i for i, row in enumerate(every)}
    assert len(place) == n, "every image has features of its own"
    places = [place[row.tobytes()] for row in kept]
    assert (places[0], places[-1]) == (0, n - 1)
    even = [i * (n - 1) / (len(kept) - 1) for i in range(len(kept))]
    assert np.abs(np.subtract(places, even)).max() <= 0.5
    assert found.count == n


@pytest.mark.parametrize("kept", [2, 37, 512])
def test_the_kept_features_are_the_same_after_a_stop(kept, real, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(making, "KEPT_FEATURES", kept)
    undisturbed = of(real["npz"], Toy(tmp_path / "a.txt")).statistics
    assert len(undisturbed.features) == kept
    interrupt(real["npz"], tmp_path / "cache", tmp_path / "b.txt", 20)
    gone_on = of(real["npz"], Toy(tmp_path / "c.txt"), tmp_path / "cache").statistics
    assert_same_bits(gone_on, undisturbed)


@pytest.mark.parametrize("bundled", [False, True], ids=["toy", "bundled"])
def test_images_that_are_all_the_same_make_a_reference(bundled, tmp_path):
    cpu = torch.device("cpu")
    extractor = load_extractor("bundled", cpu) if bundled else Toy(tmp_path / "calls.txt")
    same = np.broadcast_to(pictures(1), (700, 8, 8, 3))
    np.savez(tmp_path / "real.npz", same)
    found = of(tmp_path / "real.npz", extractor, tmp_path / "cache")
    assert np.abs(found.cov).max() < 1e-12
    samples = extractor(torch.from_numpy(pictures(300, seed=5)).permute(0, 3, 1, 2).contiguous())
    x, mean = samples.double().numpy(), found.mean
    by_hand = ((x.mean(0) - mean) ** 2).sum() + x.var(0, ddof=1).sum()
    frechet = found.frechet()
    distance, influence = frechet.analyse(samples)
    for few in (300, 50):  # more and fewer images than features
        expected = ((x[:few].mean(0) - mean) ** 2).sum() + x[:few].var(0, ddof=1).sum()
        assert frechet.distance(samples[:few]) == pytest.approx(expected, rel=1e-6)
    assert distance == pytest.approx(by_hand, rel=1e-6)
    assert torch.isfinite(influence).all()
    assert math.isfinite(found.kernel().distance(samples))
    itself = extractor(torch.from_numpy(same[:300].copy()).permute(0, 3, 1, 2).contiguous())
    assert abs(frechet.distance(itself)) < 1e-6 * by_hand
    exact = FrechetReference(mean, np.zeros_like(found.cov))
    assert exact.distance(samples) == pytest.approx(by_hand, rel=1e-12)

import hashlib
import multiprocessing
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.doubts import doubts
from lambda_search.metrics.references.load import load_reference

MINE = "f" * 64


@pytest.fixture
def write(tmp_path):
    def make(name="real.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **{"mu": np.arange(3.0), "sigma": np.eye(3)} | arrays)
        return path

    return make


class Named:
    """An extractor as far as files of moments go."""

    name = "mine"

    def __init__(self, fingerprint=MINE, dim=3, published=""):
        self.fingerprint, self.dim, self.published = fingerprint, dim, published


def refused(name, extractor=None, base=None):
    extractor = extractor or Named()
    with pytest.raises(UsageError) as caught:
        load_reference(str(name), extractor, base)
    assert caught.value.cause
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


def test_the_bundled_reference_belongs_to_the_bundled_extractor():
    extractor = load_extractor("bundled", torch.device("cpu"))
    found = load_reference("bundled:fashion-mnist", extractor)
    assert found.name == "bundled:fashion-mnist"
    assert (
        found.fingerprint
        == hashlib.sha256(
            b"lambda_search: moments, 1\n" + found.mean.tobytes() + found.cov.tobytes()
        ).hexdigest()
    )
    assert found.mean.shape == (extractor.dim,)
    assert found.cov.shape == (extractor.dim, extractor.dim)
    assert found.mean.dtype == found.cov.dtype == np.float64
    assert np.allclose(found.cov, found.cov.T)
    assert np.linalg.eigvalsh(found.cov).min() > -1e-6 * np.trace(found.cov)
    assert (found.mean >= 0).all()  # features after a ReLU


def test_the_bundled_reference_tells_noise_from_less_noise():
    extractor = load_extractor("bundled", torch.device("cpu"))
    reference = load_reference("bundled:fashion-mnist", extractor).frechet()
    noise = torch.randint(0, 256, (64, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    far = reference.distance(extractor(noise.to(torch.uint8)))
    rng = np.random.default_rng(0)
    near = reference.distance(
        rng.multivariate_normal(reference.mean.numpy(), reference.cov.numpy(), 500)
    )
    assert 0 < near < 0.1 * far


def test_the_bundled_reference_with_another_extractor_is_refused():
    cause, hint = refused("bundled:fashion-mnist", Named(dim=128))
    assert "was made with another extractor (bundled) than the study's" in cause
    assert hint.startswith("Use the extractor that made it")


@pytest.mark.parametrize("made_with", [{}, {"extractor": MINE}], ids=["unmarked", "marked"])
def test_a_file_of_moments_is_read(write, made_with):
    path = write(sigma=2 * np.eye(3, dtype=np.float32), **made_with)
    found = load_reference(str(path), Named())
    assert found.name == str(path)
    assert (
        found.fingerprint
        == hashlib.sha256(
            b"lambda_search: moments, 1\n" + found.mean.tobytes() + found.cov.tobytes()
        ).hexdigest()
    )
    assert found.mean.tolist() == [0, 1, 2]
    assert found.cov.tolist() == (2 * np.eye(3)).tolist()
    assert found.cov.dtype == np.float64
    frechet = found.frechet()
    assert frechet.mean.tolist() == [0, 1, 2]
    assert torch.equal(frechet.cov, 2 * torch.eye(3, dtype=torch.float64))


def test_a_file_made_with_another_extractor_is_refused(write):
    cause, _ = refused(write(extractor="0" * 64, extractor_name="theirs"))
    assert "another extractor (theirs)" in cause


def test_relative_names_start_at_the_study(write, tmp_path, monkeypatch):
    write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_reference("real.npz", Named(), tmp_path).mean.tolist() == [0, 1, 2]
    assert "There is no reference at real.npz" in refused("real.npz")[0]


@pytest.mark.parametrize("name", ["none.npz", ".", "bundled:fashion-mnist-features"])
def test_a_missing_reference_is_refused(name, tmp_path):
    cause, hint = refused(name, base=tmp_path)
    assert cause == f"There is no reference at {name}."
    assert "bundled:fashion-mnist" in hint


def test_an_unknown_bundled_reference_is_refused():
    assert "bundled" in refused("bundled:nothing")[0]


@pytest.mark.parametrize("kept", [10, 300, -1])
def test_a_truncated_file_is_refused(write, kept):
    path = write(sigma=np.random.default_rng(0).standard_normal((3, 3)))
    path.write_bytes(path.read_bytes()[:kept])
    cause, hint = refused(path)
    assert f"The reference {path} cannot be read: " in cause
    assert "mu [d] and sigma [d, d]" in hint


def test_a_damaged_file_is_refused(write):
    path = write(mu=np.arange(3000.0))
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)
    assert "cannot be read" in refused(path)[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"not an archive", "is a text file"), (b"PK\x03\x04", "cannot be read")],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, content, words):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert words in refused(path)[0]


def test_a_file_without_moments_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros(3))
    assert "cannot be read" in refused(tmp_path / "a.npz")[0]


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert "is a NumPy array, not an archive of moments" in refused(tmp_path / "a.npy")[0]


def test_a_pickle_is_not_opened(write):
    assert "cannot be read" in refused(write(mu=np.arange(3.0).astype(object)))[0]


@pytest.mark.parametrize(
    "arrays",
    [
        {"mu": np.zeros(4)},
        {"sigma": np.zeros(9)},
        {"mu": np.zeros((3, 1))},
        {"mu": np.array([0, np.nan, 1])},
        {"sigma": np.full((3, 3), np.inf)},
        {"mu": np.float64(1.0)},
    ],
    ids=["widths", "flat", "column", "NaN", "infinite", "scalar"],
)
def test_moments_that_make_no_gaussian_are_refused(write, arrays):
    with pytest.raises(LambdaSearchError) as caught:
        load_reference(str(write(**arrays)), Named())
    assert caught.value.cause
    assert caught.value.hint


class Toy:
    """Random features of the mean over 2 × 2 quarters; writes down every call in `log`."""

    name = "toy"
    published = ""

    def __init__(self, log, dim=6, fingerprint=MINE):
        self.log, self.dim, self.fingerprint = Path(log), dim, fingerprint
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(4, dim, generator=generator) / 50
        self.offset = 30.0  # far from zero, as features behind a ReLU are

    def __call__(self, images):
        assert images.dtype == torch.uint8
        with self.log.open("a") as stream:
            stream.write(f"{len(images)}\n")
        quarters = torch.nn.functional.adaptive_avg_pool2d(images.float().mean(1, True), 2)
        return (quarters.flatten(1) @ self.weight).square().sqrt() + self.offset

    def calls(self):
        return len(self.log.read_text().split()) if self.log.exists() else 0


class Blind(Toy):
    """Makes NaN of images whose first pixel is 13."""

    def __call__(self, images):
        found = super().__call__(images)
        found[images[:, 0, 0, 0] == 13, 2] = torch.nan
        return found


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path / "calls.txt")


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), np.uint8)


def save(folder, pixels, name="{:05}.png"):
    folder.mkdir(exist_ok=True)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / name.format(i))
    return folder


def pack(folder, path, inside=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in reversed(sorted(folder.iterdir())):
            archive.write(file, inside + file.name)
    return path


def of(path, extractor, cache=None, base=None):
    return load_reference(f"images:{path}", extractor, base, cache)


@pytest.mark.parametrize("n", [6, 7, 63, 65, 129, 500])
def test_moments_of_images_are_those_of_their_features(tmp_path, toy, n):
    pixels = pictures(n)
    found = of(save(tmp_path / "real", pixels), toy)
    features = toy(torch.from_numpy(pixels).permute(0, 3, 1, 2)).double().numpy()
    assert np.allclose(found.mean, features.mean(0), rtol=1e-7, atol=0)
    # Batches of another size differ in the last bits of the float32 features.
    assert np.allclose(found.cov, np.cov(features.T), rtol=1e-5, atol=1e-6)
    assert found.mean.dtype == found.cov.dtype == np.float64
    assert (found.count, found.dim) == (n, 6)
    assert found.name == f"images:{tmp_path / 'real'}"


def test_moments_are_added_up_in_float64(tmp_path):
    class Exact(Toy):
        def __call__(self, images):
            x = images.flatten(1)[:, :6].float()
            return x + 2.0**16  # exact in float32, so nothing but the sums can be wrong

    pixels = pictures(700)
    found = of(save(tmp_path / "real", pixels), Exact(tmp_path / "calls.txt"))
    features = pixels.transpose(0, 3, 1, 2).reshape(700, -1)[:, :6].astype(np.float64)
    assert np.allclose(found.mean, features.mean(0) + 2**16, rtol=1e-15, atol=0)
    assert np.allclose(found.cov, np.cov(features.T), rtol=1e-12, atol=1e-9)


def test_a_folder_an_archive_and_an_array_give_the_same_bits(tmp_path, toy):
    pixels = pictures(150)
    folder = save(tmp_path / "real", pixels)
    np.savez(tmp_path / "real.npz", pixels)
    found = of(folder, toy)
    for path in (
        pack(folder, tmp_path / "real.zip"),
        pack(folder, tmp_path / "within.zip", "train/"),
        tmp_path / "real.npz",
    ):
        other = of(path, toy)
        assert np.array_equal(other.mean, found.mean)
        assert np.array_equal(other.cov, found.cov)
        assert other.count == found.count == 150
    assert of(tmp_path / "within.zip", toy).fingerprint == found.fingerprint


def test_the_distance_of_images_to_themselves_is_zero(tmp_path, toy):
    pixels = pictures(40)
    reference = of(save(tmp_path / "real", pixels), toy).frechet()
    features = toy(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    other = toy(torch.from_numpy(pictures(40, seed=1) // 2).permute(0, 3, 1, 2))
    assert abs(reference.distance(features)) < 1e-5 < reference.distance(other)


@pytest.mark.parametrize("n", [3, 39])
def test_fewer_images_than_features_are_refused_before_anything_is_computed(tmp_path, n):
    toy = Toy(tmp_path / "calls.txt", dim=40)
    folder = save(tmp_path / "real", pictures(n))
    np.savez(tmp_path / "a.npz", mu=np.zeros(40), sigma=np.eye(40), n=n)
    for name in (f"images:{folder}", str(tmp_path / "a.npz")):
        cause, hint = refused(name, toy)
        assert f"{name} is of {n} images, fewer than the 40 features of toy" in cause
        assert "160 images or more" in hint
    assert toy.calls() == 0
    assert of(save(folder, pictures(40)), toy).cov.shape == (40, 40)


def test_of_several_sizes_the_moments_are_those_of_all_their_features(tmp_path, toy):
    features = []
    for i, side in enumerate((8, 8, 9, 9, 9, 8, 10)):
        pixels = np.random.default_rng(i).integers(0, 256, (1, side, side, 3), np.uint8)
        (tmp_path / "real").mkdir(exist_ok=True)
        save(tmp_path / "real" / f"{i}", pixels)
        features.append(toy(torch.from_numpy(pixels).permute(0, 3, 1, 2)).double())
    found = of(tmp_path / "real", toy, tmp_path / "cache")
    assert (found.count, found.shape) == (7, (0, 0, 3))
    wanted = torch.cat(features).numpy()
    assert np.allclose(found.mean, wanted.mean(0), rtol=1e-6, atol=0)
    assert np.allclose(found.cov, np.cov(wanted.T), rtol=1e-4, atol=1e-5)
    assert of(tmp_path / "real", toy, tmp_path / "cache").shape == (0, 0, 3)


def test_the_fingerprint_says_which_images_not_where_or_how_called(tmp_path, toy):
    pixels = pictures(7)
    first = of(save(tmp_path / "real", pixels), toy).fingerprint
    assert len(first) == 64
    elsewhere = save(tmp_path / "moved", pixels[::-1], "{}-renamed.png")
    assert of(elsewhere, toy).fingerprint == first
    assert of(pack(elsewhere, tmp_path / "real.zip"), toy).fingerprint == first
    assert of(elsewhere, Toy(tmp_path / "c", fingerprint="0" * 64)).fingerprint != first


def test_the_fingerprint_is_the_same_on_every_machine(tmp_path, toy):
    toy = Toy(tmp_path / "calls.txt", dim=2)
    for i in (0, 1):
        image = b"BM" + bytes([62, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0])
        image += bytes([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 24, 0]) + bytes(24) + bytes([i, 2, 3, 0])
        (tmp_path / f"{i}.bmp").write_bytes(image)
    digests = sorted(hashlib.sha256((tmp_path / f"{i}.bmp").read_bytes()).digest() for i in (0, 1))
    said = b"lambda_search: moments of images, 1\n" + MINE.encode() + b"".join(digests)
    found = of(tmp_path, toy)
    assert found.fingerprint == hashlib.sha256(said).hexdigest()
    assert np.isfinite(found.cov).all()


@pytest.mark.parametrize("change", ["one pixel", "one more", "one less", "one twice"])
def test_other_images_have_another_fingerprint_and_other_moments(tmp_path, toy, change):
    pixels = pictures(9)
    folder, cache = save(tmp_path / "real", pixels), tmp_path / "cache"
    before = of(folder, toy, cache)
    assert before.mean.shape == (6,)
    if change == "one pixel":
        pixels[4, 0, 0, 0] ^= 1
    elif change == "one more":
        pixels = pictures(10)
    elif change == "one less":
        (folder / "00008.png").unlink()
        pixels = pixels[:8]
    else:
        pixels = np.concatenate([pixels, pixels[:1]])
    after = of(save(folder, pixels), toy, cache)
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(after.cov, before.cov)
    assert after.count == len(pixels)
    assert len(list(cache.glob("*.npz"))) == 2


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_moments_are_computed_once_and_kept(tmp_path, toy, kind):
    pixels, cache = pictures(130), tmp_path / "home" / "references"
    path = save(tmp_path / "real", pixels)
    if kind == "zip":
        path = pack(path, tmp_path / "real.zip")
    elif kind == "npz":
        path = tmp_path / "real.npz"
        np.savez(path, pixels)
    first = of(path, toy, cache)
    assert toy.calls() == 0  # nothing is computed before it is asked for
    mean, cov = first.mean, first.cov
    assert toy.calls() == 3
    again = of(path, toy, cache)
    assert np.array_equal(again.mean, mean)
    assert np.array_equal(again.cov, cov)
    assert (again.count, again.fingerprint) == (130, first.fingerprint)
    assert toy.calls() == 3
    names = sorted(file.name for file in cache.iterdir())
    assert [name for name in names if not name.endswith(".lock")] == [f"{first.fingerprint}.npz"]


def test_kept_moments_are_a_reference_of_their_own(tmp_path, toy):
    found = of(save(tmp_path / "real", pictures(9)), toy, tmp_path / "cache")
    cov = found.cov
    kept = tmp_path / "cache" / f"{found.fingerprint}.npz"
    assert np.array_equal(load_reference(str(kept), toy).cov, cov)
    assert "another extractor" in refused(kept, Named("0" * 64, dim=6))[0]


def test_without_a_cache_nothing_is_kept(tmp_path, toy):
    folder = save(tmp_path / "real", pictures(9))
    for calls in (1, 2):
        found = of(folder, toy)
        assert found.mean is found.mean
        assert found.frechet().dim == 6
        assert toy.calls() == calls
    assert sorted(file.name for file in tmp_path.iterdir()) == ["calls.txt", "real"]


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "other", "NaN", "narrow"])
def test_damaged_moments_are_computed_again(tmp_path, toy, damage):
    folder, cache = save(tmp_path / "real", pictures(9)), tmp_path / "cache"
    found = of(folder, toy, cache)
    cov = found.cov
    kept = cache / f"{found.fingerprint}.npz"
    content = bytearray(kept.read_bytes())
    if damage == "flipped":
        content[content.index(cov.tobytes()) + 3] ^= 0xFF
    if damage in ("empty", "half", "flipped"):
        kept.write_bytes(content[: {"empty": 0, "half": len(content) // 2}.get(damage)])
    elif damage == "other":
        np.savez(kept, mu=np.zeros(6), sigma=np.eye(6), extractor="0" * 64)
    elif damage == "NaN":
        np.savez(kept, mu=np.full(6, np.nan), sigma=np.eye(6), extractor=MINE)
    else:
        np.savez(kept, mu=np.zeros(5), sigma=np.eye(5), extractor=MINE)
    for _ in range(2):
        assert np.array_equal(of(folder, toy, cache).cov, cov)
    assert toy.calls() == 2


def test_an_interrupted_computation_leaves_no_file(tmp_path, toy, monkeypatch):
    folder, cache = save(tmp_path / "real", pictures(200)), tmp_path / "cache"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Toy, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            of(folder, toy, cache).frechet()
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", stop)
        with pytest.raises(KeyboardInterrupt):
            of(folder, toy, cache).frechet()
    assert [file.suffix for file in cache.iterdir() if file.suffix != ".lock"] == []
    assert of(folder, toy, cache).cov.shape == (6, 6)
    assert len(list(cache.glob("*.npz"))) == 1


class Slow(Toy):
    """Slow enough that a second process asks while the first one computes."""

    def __call__(self, images):
        time.sleep(0.1)
        return super().__call__(images)


def ask(folder, cache, log, barrier, answers):
    found = of(folder, Slow(log), cache)
    barrier.wait(60)
    answers.put((found.fingerprint, found.mean.tobytes(), found.cov.tobytes()))


@pytest.mark.slow
def test_processes_that_ask_at_once_compute_once(tmp_path, toy):
    folder, cache = save(tmp_path / "real", pictures(300)), tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = (folder, cache, toy.log, barrier, answers)
    processes = [context.Process(target=ask, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert found[0] == found[1]
    assert toy.calls() == 5  # 300 images in batches of 60
    assert of(folder, toy, cache).cov.tobytes() == found[0][2]
    assert toy.calls() == 5


def test_a_cache_that_cannot_be_written_is_explained(tmp_path, toy):
    (tmp_path / "file").write_text("")
    with pytest.raises(LambdaSearchError) as caught:
        of(save(tmp_path / "real", pictures(6)), toy, tmp_path / "file" / "cache").frechet()
    assert "cannot be kept" in caught.value.cause
    assert "LAMBDA_SEARCH_HOME" in caught.value.hint


def test_relative_images_start_at_the_study(tmp_path, toy, monkeypatch):
    save(tmp_path / "real", pictures(8))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert of("real", toy, base=tmp_path).count == 8
    assert "There is no reference at images:real" in refused("images:real", toy)[0]


@pytest.mark.parametrize("name", ["images:", "images:none", "images:none.zip"])
def test_missing_images_are_refused(tmp_path, toy, name, monkeypatch):
    monkeypatch.chdir(save(tmp_path / "real", pictures(3)))  # "" must not mean this folder
    cause, hint = refused(name, toy)
    assert cause == f"There is no reference at {name}."
    assert "images:" in hint


def test_what_is_no_image_is_refused_before_anything_is_computed(tmp_path, toy):
    folder = save(tmp_path / "real", pictures(200))
    (folder / "z.png").write_bytes(b"")
    assert refused(f"images:{folder}", toy)[0].startswith("z.png in ")
    assert toy.calls() == 0


def test_an_image_without_features_is_named(tmp_path):
    pixels = pictures(200)
    pixels[:, 0, 0, 0] = 0
    pixels[137, 0, 0, 0] = 13
    found = of(save(tmp_path / "real", pixels), Blind(tmp_path / "calls.txt"), tmp_path / "cache")
    with pytest.raises(UsageError) as caught:
        found.frechet()
    assert "NaN or infinity of 00137.png in" in caught.value.cause
    assert list((tmp_path / "cache").glob("*.npz")) == []


def test_an_extractor_of_another_width_is_refused(tmp_path, toy):
    toy.dim = 7
    with pytest.raises(LambdaSearchError, match="promises features 7 wide"):
        of(save(tmp_path / "real", pictures(8)), toy).frechet()


def test_images_go_through_the_bundled_extractor(tmp_path):
    extractor = load_extractor("bundled", torch.device("cpu"))
    pixels = pictures(130)
    found = of(save(tmp_path / "real", pixels), extractor)
    features = extractor(torch.from_numpy(pixels).permute(0, 3, 1, 2)).double().numpy()
    assert np.allclose(found.mean, features.mean(0), rtol=1e-4, atol=1e-5)
    assert np.allclose(found.cov, np.cov(features.T), rtol=1e-3, atol=1e-4)
    assert found.frechet().dim == extractor.dim


def test_moments_say_no_count(write):
    found = load_reference(str(write()), Named())
    assert (found.count, found.dim) == (None, 3)


def a_few(n, d, seed=0):
    """Features of n images, as far from zero as those behind a ReLU."""
    return np.random.default_rng(seed).normal(size=(n, d)) + 3


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("say_n", [None, 4000])
@pytest.mark.parametrize(("n", "rank"), [(10, 9), (39, 38), (40, 39), (41, None), (900, None)])
def test_moments_of_fewer_images_than_features_are_a_caution(tmp_path, toy, n, rank, say_n, kind):
    """Others' files do not say n, and one may be wrong: the rank of Σ tells it."""
    toy.dim = 40
    x = np.concatenate([a_few(n, 38), np.zeros((n, 1)), np.full((n, 1), 7.0)], 1)
    x[:, :38] *= np.logspace(0, -2, 38)
    for repeats in (1, 60):
        many = np.repeat(x, repeats, 0)
        moments = {"mu": many.mean(0).astype(kind), "sigma": np.cov(many.T).astype(kind)}
        np.savez(tmp_path / "a.npz", **moments, **({"n": say_n} if say_n else {}))
        found = load_reference(str(tmp_path / "a.npz"), toy)
        told = [one for one in doubts(found, None) if "has rank" in one]
        if rank is None or rank >= 38:  # two of the features never vary, for nobody's fault
            assert found.missing_rank is None and not told
        else:
            assert f"has rank {rank} in 40 features, as that of {rank + 1} images would" in told[0]


def test_published_moments_have_full_rank(tmp_path):
    bundled = load_extractor("bundled", torch.device("cpu"))
    found = load_reference("bundled:fashion-mnist", bundled)
    assert found.missing_rank is None and doubts(found, None) == ()


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_copies_do_not_count_as_images(tmp_path, toy, kind):
    pixels = pictures(10)
    path = tmp_path / "real"
    save(path, np.concatenate([pixels] * 60))
    if kind == "zip":
        path = Path(shutil.make_archive(str(path), "zip", path))
    if kind == "npz":
        path = tmp_path / "real.npz"
        np.savez(path, np.concatenate([pixels] * 60))
    toy.dim = 12
    toy.weight = torch.randn(4, 12, generator=torch.Generator().manual_seed(0)) / 50
    for _ in range(2):  # computed, and then kept
        found = of(path, toy, tmp_path / "cache")
        [told] = doubts(found, None)
        assert "is of 600 images, of which 10 differ; below 48" in told
        assert found.statistics.count == 600
    found = of(save(tmp_path / "few", pictures(60)), toy)
    assert found.distinct == 60 and not doubts(found, None)

import hashlib

import numpy as np
import pytest
import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.features import load_extractor
from lambda_search.metrics.reference import load_reference
from lambda_search.models.checkpoints import bundled_folder

MINE = "f" * 64


@pytest.fixture
def write(tmp_path):
    def make(name="real.npz", **arrays):
        path = tmp_path / name
        np.savez(path, **{"mu": np.arange(3.0), "sigma": np.eye(3)} | arrays)
        return path

    return make


def refused(name, extractor=MINE, base=None):
    with pytest.raises(UsageError) as caught:
        load_reference(str(name), extractor, base)
    assert caught.value.cause
    assert caught.value.hint
    return caught.value.cause, caught.value.hint


def test_the_bundled_reference_belongs_to_the_bundled_extractor():
    extractor = load_extractor("bundled", torch.device("cpu"))
    found = load_reference("bundled:fashion-mnist", extractor.fingerprint)
    path = bundled_folder("fashion-mnist-features") / "reference.npz"
    assert found.name == "bundled:fashion-mnist"
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.mean.shape == (extractor.dim,)
    assert found.cov.shape == (extractor.dim, extractor.dim)
    assert found.mean.dtype == found.cov.dtype == np.float64
    assert np.allclose(found.cov, found.cov.T)
    assert np.linalg.eigvalsh(found.cov).min() > -1e-6 * np.trace(found.cov)
    assert (found.mean >= 0).all()  # features after a ReLU


def test_the_bundled_reference_tells_noise_from_less_noise():
    extractor = load_extractor("bundled", torch.device("cpu"))
    reference = load_reference("bundled:fashion-mnist", extractor.fingerprint).frechet()
    noise = torch.randint(0, 256, (64, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    far = reference.distance(extractor(noise.to(torch.uint8)))
    rng = np.random.default_rng(0)
    near = reference.distance(
        rng.multivariate_normal(reference.mean.numpy(), reference.cov.numpy(), 500)
    )
    assert 0 < near < 0.1 * far


def test_the_bundled_reference_with_another_extractor_is_refused():
    cause, hint = refused("bundled:fashion-mnist")
    assert "was made with another extractor than the study's" in cause
    assert hint.startswith("Use the extractor that made it")


@pytest.mark.parametrize("made_with", [{}, {"extractor": MINE}], ids=["unmarked", "marked"])
def test_a_file_of_moments_is_read(write, made_with):
    path = write(sigma=2 * np.eye(3, dtype=np.float32), **made_with)
    found = load_reference(str(path), MINE)
    assert found.name == str(path)
    assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.mean.tolist() == [0, 1, 2]
    assert found.cov.tolist() == (2 * np.eye(3)).tolist()
    assert found.cov.dtype == np.float64
    frechet = found.frechet()
    assert frechet.mean.tolist() == [0, 1, 2]
    assert torch.equal(frechet.cov, 2 * torch.eye(3, dtype=torch.float64))


def test_a_file_made_with_another_extractor_is_refused(write):
    assert "another extractor" in refused(write(extractor="0" * 64))[0]


def test_relative_names_start_at_the_study(write, tmp_path, monkeypatch):
    write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_reference("real.npz", MINE, tmp_path).mean.tolist() == [0, 1, 2]
    assert "There is no reference at real.npz" in refused("real.npz")[0]


@pytest.mark.parametrize("name", ["none.npz", ".", "bundled:fashion-mnist-features"])
def test_a_missing_reference_is_refused(name, tmp_path):
    cause, hint = refused(name, base=tmp_path)
    assert cause == f"There is no reference at {name}."
    assert "bundled:fashion-mnist" in hint


def test_an_unknown_bundled_reference_is_refused():
    assert "bundled" in refused("bundled:nothing")[0]


@pytest.mark.parametrize("kept", [0, 10, 300, -1])
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


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert "cannot be read" in refused(path)[0]


def test_a_file_without_moments_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", mean=np.zeros(3))
    assert "cannot be read" in refused(tmp_path / "a.npz")[0]


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert "cannot be read" in refused(tmp_path / "a.npy")[0]


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
        load_reference(str(write(**arrays)), MINE)
    assert caught.value.cause
    assert caught.value.hint

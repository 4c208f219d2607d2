import hashlib
import json

import pytest
import torch

from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.paths import bundled_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def extractor():
    return load_extractor("bundled", CPU)


def images(n, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)


def smooth(n, size):
    """Images without sharp edges, the same picture at every size."""
    y, x = torch.meshgrid(*[(torch.arange(size) + 0.5) / size] * 2, indexing="ij")
    waves = [127.5 + 100 * torch.sin(3 * x + k) * torch.cos(2 * y - k) for k in range(n)]
    return torch.stack(waves)[:, None].round().to(torch.uint8)


def test_it_is_named_by_its_weights_its_resize_and_its_range(extractor):
    weights = (bundled_folder("fashion-mnist-features") / "model.safetensors").read_bytes()
    said = extractor.preprocessing.model_dump(mode="json")
    assert (said["size"], said["channels"], said["std"]) == ([28, 28], 1, [255.0])
    named = {"preprocessing": said, "weights": hashlib.sha256(weights).hexdigest()}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"))
    assert extractor.name == "bundled"
    assert extractor.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert extractor.dim == 128
    other = NetworkExtractor(
        "bundled", None, Preprocessing(size=(28, 28)), named["weights"], 128, CPU
    )
    assert other.fingerprint != extractor.fingerprint


@pytest.mark.parametrize("n", [1, 2, 33])
def test_each_image_has_its_vector(extractor, n):
    found = extractor(images(n, 1, 28, 28))
    assert found.shape == (n, extractor.dim)
    assert found.dtype == torch.float32
    assert found.device == CPU
    assert found.isfinite().all()
    assert not found.requires_grad


def test_different_images_have_different_vectors(extractor):
    found = extractor(images(20, 1, 28, 28))
    distances = torch.cdist(found, found) + 1e9 * torch.eye(20)
    assert distances.min() > 1e-2


@pytest.mark.parametrize("size", [1, 7, 16])
def test_a_vector_does_not_depend_on_the_batch(extractor, size):
    batch = images(32, 1, 28, 28)
    parts = torch.cat([extractor(part) for part in batch.split(size)])
    assert torch.allclose(parts, extractor(batch), rtol=1e-4, atol=1e-4)


def test_the_order_of_images_is_the_order_of_vectors(extractor):
    batch = images(8, 1, 28, 28)
    assert torch.allclose(extractor(batch.flip(0)), extractor(batch).flip(0), atol=1e-4)


def test_the_same_image_gives_the_same_bits(extractor):
    batch = images(8, 1, 28, 28)
    assert torch.equal(extractor(batch), extractor(batch))
    assert torch.equal(extractor(batch), load_extractor("bundled", CPU)(batch))


def test_colour_is_greyed(extractor):
    grey = images(6, 1, 28, 28)
    assert torch.allclose(extractor(grey.expand(-1, 3, -1, -1)), extractor(grey), atol=1e-3)
    colour = images(6, 3, 28, 28)
    swapped = colour[:, [2, 0, 1]]
    assert torch.allclose(extractor(colour), extractor(swapped), atol=1e-3)


@pytest.mark.parametrize("size", [20, 32, 64])
def test_other_sizes_are_resized(extractor, size):
    exact = extractor(smooth(5, 28))
    found = extractor(smooth(5, size))
    assert found.shape == exact.shape
    spread = torch.cdist(exact, exact).max()
    assert (found - exact).norm(dim=1).max() < 0.05 * spread


def test_coloured_cifar_sized_images_are_greyed_and_resized(extractor):
    grey = smooth(5, 32)
    found = extractor(grey.expand(-1, 3, -1, -1))
    assert found.shape == (5, 128)
    assert torch.allclose(found, extractor(grey), atol=1e-3)


def test_resizing_stays_in_the_range_of_images(extractor):
    """Bicubic overshoot at a hard edge is cut off."""
    edge = torch.zeros((1, 1, 56, 56), dtype=torch.uint8)
    edge[..., 28:] = 255
    shrunk = torch.zeros((1, 1, 28, 28), dtype=torch.uint8)
    shrunk[..., 14:] = 255
    seen = []
    network = extractor._network.__self__
    handle = network.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        extractor(edge)
        extractor(shrunk)
    finally:
        handle.remove()
    assert [x.shape for x in seen] == [(1, 1, 28, 28)] * 2
    for x in seen:
        assert (float(x.min()), float(x.max())) == (0.0, 1.0)


def test_an_unknown_extractor_is_refused():
    with pytest.raises(UsageError) as caught:
        load_extractor("inceptoin", CPU)
    assert caught.value.cause == "There is no extractor 'inceptoin'."
    assert "bundled" in caught.value.hint

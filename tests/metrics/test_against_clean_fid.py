"""Features, distances and preprocessing against clean-fid 0.1.35 itself, Pillow and torchvision.

NVIDIA's Inception is used where it lies on this machine (see `inception.find_real`), else random
weights behind the same interface.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from cleanfid.fid import fid_from_feats
from cleanfid.fid import get_files_features
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from PIL import Image
from torchvision.transforms import CenterCrop
from torchvision.transforms import Compose
from torchvision.transforms import InterpolationMode
from torchvision.transforms import Resize
from transformers import CLIPVisionConfig
from transformers import CLIPVisionModelWithProjection

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.extractors.inception import INCEPTION
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import frechet_distance
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.metrics.references.load import load_reference
from lambda_search.models.sampling import to_uint8
from tests.fashion import fashion_images
from tests.metrics.inception import find_real
from tests.metrics.inception import full
from tests.metrics.inception import small

CPU = torch.device("cpu")
MODES = pytest.mark.parametrize(
    ("mode", "name"), [("clean", "inception-clean"), ("legacy_tensorflow", "inception-legacy")]
)
SIZES = [(28, 28), (32, 32), (48, 64), (256, 256), (299, 299), (512, 512), (333, 640)]
KINDS = pytest.mark.parametrize("kind", ["noise", "smooth"])


@contextmanager
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory):
    return small(tmp_path_factory.mktemp("small") / INCEPTION.name)


@pytest.fixture(scope="module")
def weights(small_weights):
    return find_real() or small_weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The first 2,100 images and the next (more than features), each in a folder of PNG files."""
    root = tmp_path_factory.mktemp("fashion")
    halves = root / "real", root / "samples"
    for half, begin in zip(halves, (0, 2100), strict=True):
        half.mkdir()
        write(fashion_images()[begin : begin + 2100], half)
    return halves


def write(images, folder):
    paths = [folder / f"{k:05d}.png" for k in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path, compress_level=1)
    return paths


def theirs(paths, weights, mode):
    """clean-fid's features of files."""
    inside = mode == "legacy_tensorflow"
    model = InceptionV3W(str(weights.parent), download=False, resize_inside=inside)
    return get_files_features(
        paths, model=model, num_workers=0, batch_size=128, device=CPU, mode=mode, verbose=False
    )


def tensor(images):
    """uint8 [n, h, w] or [n, h, w, 3] → [n, c, h, w]."""
    x = torch.from_numpy(np.array(images))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)


def picture(kind, h, w):
    """uint8 [h, w, 3]."""
    if kind == "noise":
        return np.random.default_rng(h * w).integers(0, 256, (h, w, 3), dtype=np.uint8)
    y, x = (np.arange(n)[:, None] / n for n in (h, w))
    waves = [127.5 + 127.5 * np.sin(5 * y + k) * np.cos(7 * x.T - k) for k in range(3)]
    return np.stack(waves, axis=2).round().astype(np.uint8)


def by_singular_values(a, b):
    """The Fréchet distance by |μ − μ′|² + |Y|² + |Z|² − 2 Σ singular values of Y Zᵀ."""
    a, b = a.astype(float), b.astype(float)
    y, z = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    apart = a.mean(0) - b.mean(0)
    cross = np.linalg.svd(y @ z.T, compute_uv=False).sum()
    return apart @ apart + np.square(y).sum() + np.square(z).sum() - 2 * cross


class Recorder:
    """An extractor that keeps the features it made."""

    def __init__(self, extractor):
        self.extractor = extractor
        self.made = []
        self.name, self.dim = extractor.name, extractor.dim
        self.fingerprint, self.published = extractor.fingerprint, extractor.published

    def __call__(self, images):
        self.made.append(self.extractor(images))
        return self.made[-1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_images_have_clean_fids_features_and_fid(weights, folders, tmp_path):
    with two_threads():
        files = [path for folder in folders for path in sorted(folder.iterdir())]
        wanted = theirs(files, weights, "clean")
        extractor = Recorder(load_extractor(f"inception-clean:{weights}", CPU))
        real, cache = f"images:{folders[0]}", tmp_path / "cache"
        load_reference(real, extractor, cache=cache).frechet()
        first = torch.cat(extractor.made)
        last = extractor.extractor(tensor(fashion_images()[2100:4200]))
        found = torch.cat([first, last])
        reference = load_reference(real, extractor, cache=cache).frechet()
        fid = reference.distance(last)
        expected = fid_from_feats(wanted[:2100], wanted[2100:])
    assert len(first) == sum(map(len, extractor.made)) == 2100  # the second time it was kept
    assert np.abs(found.numpy() - wanted).max() < 1e-3
    assert fid == pytest.approx(expected, rel=1e-4)
    assert reference.distance(Moments.from_features(last)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@MODES
def test_few_images_have_clean_fids_features_and_fid(mode, name, small_weights, tmp_path):
    images = fashion_images()[:300]
    wanted = theirs(write(images, tmp_path), small_weights, mode)
    found = load_extractor(f"{name}:{small_weights}", CPU)(tensor(images))
    assert np.abs(found.numpy() - wanted).max() < 1e-3
    fid = frechet_distance(found[:150], found[150:])
    assert fid == pytest.approx(by_singular_values(wanted[:150], wanted[150:]), rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_network_has_clean_fids_features(tmp_path):
    images = fashion_images()[:24]
    paths = write(images, tmp_path)
    (tmp_path / "weights").mkdir()
    weights = full(tmp_path / "weights" / INCEPTION.name)
    with two_threads():
        for mode, name in (
            ("clean", "inception-clean"),
            ("legacy_tensorflow", "inception-legacy"),
        ):
            wanted = theirs(paths, weights, mode)
            found = load_extractor(f"{name}:{weights}", CPU)(tensor(images)).numpy()
            assert wanted.std(0).max() > 0.01
            assert np.abs(found - wanted).max() < 1e-3


@KINDS
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_the_resize_is_clean_fids(kind, h, w):
    image = picture(kind, h, w)
    wanted = build_resizer("clean")(image)
    found = Preprocessing(size=(299, 299))(tensor(image[None]))[0].permute(1, 2, 0).numpy()
    assert wanted.std() > 20
    assert np.abs(found - wanted).max() < 0.01


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP ViT-B/32 as to what it is fed."""
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        projection_dim=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return load_extractor(f"clip-vit-b32:{folder}", CPU)


@KINDS
@pytest.mark.parametrize(
    ("h", "w"), [(32, 32), (48, 64), (64, 48), (300, 400), (224, 224), (256, 256), (512, 512)]
)
def test_clips_preprocessing_is_torchvisions(kind, h, w, clip):
    """As `cleanfid.clip_features.img_preprocess_clip`, which needs OpenAI's package, has it.

    Pillow rounds after each of its two passes, with weights of 22 bits: an exact half may fall to
    either side, and rarely both do.
    """
    image = picture(kind, h, w)
    transform = Compose([Resize(224, InterpolationMode.BICUBIC), CenterCrop(224)])
    wanted = np.asarray(transform(Image.fromarray(image))).astype(float)
    found = clip.preprocessing(tensor(image[None]))[0].permute(1, 2, 0).numpy()
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    difference = np.abs(255 * (found * std + mean) - wanted)
    assert wanted.std() > 20
    assert difference.mean() < 0.05
    assert difference.max() < 2.001
    assert (difference > 1.001).mean() < 1e-3


def test_samples_become_bytes_as_edm_makes_them():
    """`(images_np * 127.5 + 128).clip(0, 255).astype(np.uint8)` in float32."""
    edges = (np.arange(-3, 260) - 128) / 127.5
    spread = np.random.default_rng(0).uniform(-1.3, 1.3, 10_000)
    x = np.concatenate([edges, edges + 1e-6, edges - 1e-6, spread, [-1, 0, 1]]).astype(np.float32)
    wanted = (x * np.float32(127.5) + np.float32(128)).clip(0, 255).astype(np.uint8)
    found = to_uint8(torch.from_numpy(x))
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), wanted)
    assert found[-3:].tolist() == [0, 128, 255]
    with pytest.raises(LambdaSearchError):
        to_uint8(torch.tensor([0.0, torch.nan]))

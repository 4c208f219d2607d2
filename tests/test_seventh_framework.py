"""A framework and an extractor of somebody else's package, as the README says they are written."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lambda_search as ls
from lambda_search.metrics.extractors.registry import extractors
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.models.registry import frameworks
from lambda_search.testing.extractors import Case as ExtractorCase
from lambda_search.testing.extractors import ExtractorContract
from lambda_search.testing.frameworks import Case
from lambda_search.testing.frameworks import FrameworkContract

FRAMEWORK = '''
"""A network of one convolution."""

import torch
from safetensors.torch import load_file
from torch import nn

from lambda_search.diffusion.betas import betas
from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import find
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.options import filled
from lambda_search.models.registry import Framework
from lambda_search.setting import fingerprint


class MyModel(Model):
    samplers = ("ancestral", "ddim")

    def __init__(self, network, sha256, device):
        super().__init__("mine", sha256, fingerprint("one convolution"), (1, 8, 8), device)
        self._network = network.eval().requires_grad_(False).to(device)
        self._alpha_bar = (1 - betas("linear", 100, 1e-3, 0.2)).cumprod().tolist()

    def filled(self, sampling):
        if sampling.options.grid not in (None, "even"):
            raise UsageError("Mine has no such grid.", "Leave grid out.")
        return filled(sampling, grid="even", clip=True)

    def grid(self, sampling):
        if not 2 <= sampling.steps <= 100:
            raise UsageError("Mine has 100 timesteps.", "Take 2 to 100 steps.")
        times = [round(i * 99 / (sampling.steps - 1)) for i in range(sampling.steps)]
        return Grid.variance_preserving(times, [self._alpha_bar[t] for t in times])

    def predict(self, x, level, labels, sampling):
        return Prediction(self._network(x / (1 + level.sigma)).to(x.dtype))


def load(checkpoint, config, device):
    path = find(checkpoint)
    with torch.device("meta"):
        network = nn.Conv2d(1, 1, 3, padding=1)
    load_weights(network, load_file(path), str(path))
    return MyModel(network, sha256_of(path), device)


def weights(content):
    return content if isinstance(content, dict) and set(content) == {"weight", "bias"} else None


FRAMEWORK = Framework(load, MyModel.samplers, weights, licence="mine")
'''
EXTRACTOR = '''
"""Means of the quarters of an image."""

import torch

from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.setting import fingerprint


def quarters(device, weights):
    pool = torch.nn.AdaptiveAvgPool2d(2)
    fed = Preprocessing(size=(16, 16), mean=(127.5,), std=(127.5,))
    sha256 = fingerprint("no weights")
    return NetworkExtractor("quarters", lambda x: pool(x).flatten(1), fed, sha256, 12, device)
'''
ENTRY_POINTS = """
[lambda_search.frameworks]
mine = my_package.mine:FRAMEWORK

[lambda_search.extractors]
quarters = my_package.quarters:quarters
"""


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """The package as an installer leaves it; its folder."""
    site = tmp_path_factory.mktemp("site")
    files = {
        "my_package/__init__.py": "",
        "my_package/mine.py": FRAMEWORK,
        "my_package/quarters.py": EXTRACTOR,
        "my_package-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: my-package\nVersion: 1",
        "my_package-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    for name, text in files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    yield site
    sys.path.remove(str(site))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Conv2d(1, 1, 3, padding=1)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(network.state_dict(), path)
    return path


class TestMine(FrameworkContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, checkpoint):
        return Case(lambda: ls.load_model("mine", checkpoint), images=(1, 8, 8))


class TestQuarters(ExtractorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls):
        return ExtractorCase(lambda: load_extractor("quarters", torch.device("cpu")))


def test_it_stands_beside_ours(checkpoint):
    assert "mine" in frameworks() and "adm" in frameworks()
    assert "quarters" in extractors() and "bundled" in extractors()
    images = ls.sample(ls.load_model("mine", checkpoint), "ddim", 5, ls.LambdaSchedule(1.01))
    assert images.shape == (16, 1, 8, 8)


def test_a_contract_finds_what_is_wrong(checkpoint):
    """Noise that is drawn for a batch, and not for an index, is the usual mistake."""
    model = ls.load_model("mine", checkpoint)
    model.prior = lambda seed, indices: torch.randn(len(indices), *model.shape)
    wrong = Case(lambda: model, images=(1, 8, 8))
    with pytest.raises(AssertionError):
        FrameworkContract().test_the_start_depends_on_seed_and_index_alone(wrong)
    with pytest.raises(AssertionError):
        FrameworkContract().test_a_sample_depends_on_its_index_alone(wrong)

"""Every extractor that runs without the network passes the contract that ships."""

import pytest
import torch
from torch import nn
from transformers import ViTConfig
from transformers import ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.testing.extractors import Case
from lambda_search.testing.extractors import ExtractorContract
from tests.metrics.inception import small

CPU = torch.device("cpu")


def _bundled(folder):
    return "bundled"


def _inception_clean(folder):
    return f"inception-clean:{small(folder / 'weights.pt')}"


def _inception_legacy(folder):
    return f"inception-legacy:{small(folder / 'weights.pt')}"


def _torchscript(folder):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 7))
    torch.jit.save(torch.jit.script(network), str(folder / "mine.pt"))
    return str(folder / "mine.pt")


def _transformers(folder):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    config = ViTConfig(num_hidden_layers=2, image_size=32, patch_size=8, **sizes)
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


CASES = (_bundled, _inception_clean, _inception_legacy, _torchscript, _transformers)


class TestEveryExtractor(ExtractorContract):
    @pytest.fixture(scope="class", params=CASES, ids=lambda make: make.__name__.strip("_"))
    @classmethod
    def case(cls, request, tmp_path_factory):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            name = request.param(tmp_path_factory.mktemp("extractor"))
        return Case(lambda: load_extractor(name, CPU))

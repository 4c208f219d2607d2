"""`extractor: model`: a block of the study's own network, at one noise level."""

import re

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers import UNet2DModel
from safetensors.torch import load_file
from safetensors.torch import save_file

from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.extractors.own_network import blocks_of
from lambda_search.metrics.extractors.own_network import extracted
from lambda_search.metrics.extractors.registry import extractors
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import to_uint8
from lambda_search.setting import own_network
from lambda_search.testing.extractors import Case
from lambda_search.testing.extractors import ExtractorContract
from tests.models.test_contract import CASES

CPU = torch.device("cpu")
BLOCKS = {
    "adm": "middle_block",
    "ddim": "mid.block_2",
    "edm": "dec.8x8_in1",
    "pfgmpp": "dec.8x8_in1",
    "ldm": "middle_block",
    "dit": "blocks.0",
    "dit latents only": "blocks.0",
    "diffusers text": "mid_block",
}
"""The usual block of each tiny checkpoint."""


@pytest.fixture(scope="module")
def tiny(tiny_pipeline):
    return load_model("diffusers", str(tiny_pipeline))


class TestContract(ExtractorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tiny_pipeline):
        def load():
            return OwnNetworkExtractor("model", load_model("diffusers", str(tiny_pipeline)))

        return Case(load, size=(8, 8))


def test_features_are_the_blocks_means_over_space(tiny_pipeline, tiny):
    extractor = OwnNetworkExtractor("model:down_blocks.0@0.7", tiny)
    images = torch.randint(0, 256, (3, 1, 8, 8), generator=torch.manual_seed(1), dtype=torch.uint8)
    unet = UNet2DModel.from_pretrained(tiny_pipeline / "unet")
    alpha_bar = DDPMScheduler.from_pretrained(tiny_pipeline / "scheduler").alphas_cumprod.double()
    ratios = ((1 - alpha_bar) / alpha_bar).sqrt()
    t = int((ratios.log() - np.log(0.7)).abs().argmin())
    noise = normal(2**33, [0], 0, (1, 8, 8))
    x = alpha_bar[t].sqrt() * (images.float() / 127.5 - 1) + (1 - alpha_bar[t]).sqrt() * noise
    seen = []
    unet.down_blocks[0].register_forward_hook(lambda _, __, out: seen.append(out[0]))
    with torch.inference_mode():
        unet(x.float(), t)
    assert torch.allclose(extractor(images), seen[0].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=BLOCKS)
def named(request, tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = CASES[request.param](tmp_path_factory.mktemp("case"))
    return request.param, case


def test_every_framework_has_a_usual_block_and_a_split_changes_nothing(named):
    name, case = named
    model = case.model
    extractor = OwnNetworkExtractor("model", model)
    assert extractor.block == BLOCKS[name]
    assert extractor.noise == pytest.approx(0.57, rel=0.05)
    states = torch.randn(6, *model.shape, generator=torch.manual_seed(2))
    images = to_uint8(states / 3)
    whole = extracted(extractor, states, images)
    assert whole.shape == (6, extractor.dim) and whole.isfinite().all()
    assert (whole.std(0) > 0).all()
    parts = [
        extracted(extractor, s, i)
        for s, i in zip(states.split([1, 3, 2]), images.split([1, 3, 2]), strict=True)
    ]
    near = 1e-4 * float(whole.abs().max())
    assert torch.allclose(torch.cat(parts), whole, rtol=1e-4, atol=near)
    assert torch.equal(extracted(OwnNetworkExtractor("model", model), states, images), whole)
    assert not any(one._forward_hooks for one in model.blocks()[0].modules())


def test_every_framework_names_its_blocks(named):
    _, case = named
    network, usual = case.model.blocks()
    with pytest.raises(UsageError, match="no block 'middle'") as error:
        OwnNetworkExtractor("model:middle", case.model)
    listed = error.value.hint.removeprefix("Its blocks: ").removesuffix(".").split(", ")
    assert listed == list(blocks_of(network)) and usual in listed


def test_no_framework_is_left_out():
    assert {name.split()[0] for name in BLOCKS} == set(frameworks())


def test_latents_are_read_as_they_are_sampled(named):
    name, case = named
    extractor = OwnNetworkExtractor("model", case.model)
    assert extractor.of_states == (name.split()[0] in ("ldm", "dit") or name == "diffusers text")
    if extractor.of_states:
        for call in (
            lambda: extractor(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)),
            lambda: extractor.check_reference("images:photos"),
        ):
            with pytest.raises(UsageError, match="reads this model's states") as error:
                call()
            assert "self:250" in error.value.hint
    extractor.check_reference("self:250")


def test_the_fingerprint_is_of_weights_block_and_level(tiny_pipeline, tiny, tmp_path):
    (tmp_path / "unet").mkdir()
    for file in tiny_pipeline.rglob("*.json"):
        (tmp_path / file.relative_to(tiny_pipeline)).parent.mkdir(exist_ok=True)
        (tmp_path / file.relative_to(tiny_pipeline)).write_bytes(file.read_bytes())
    [weights] = tiny_pipeline.rglob("*.safetensors")
    state = load_file(weights)
    state["conv_in.bias"] = state["conv_in.bias"] + 1
    save_file(state, tmp_path / weights.relative_to(tiny_pipeline))
    names = ("model", "model:down_blocks.0", "model@0.5")
    found = [OwnNetworkExtractor(name, tiny).fingerprint for name in names]
    other = load_model("diffusers", str(tmp_path))
    found.append(OwnNetworkExtractor("model", other).fingerprint)
    assert len(set(found)) == len(found)
    spelled = OwnNetworkExtractor("model:mid_block@0.57", tiny)  # as they are left open
    assert spelled.fingerprint == found[0]


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("model:nothing", "no block 'nothing'"),
        ("model:time_embedding", "neither maps"),
        ("model@0", "no noise level 0"),
        ("model@1e9".replace("1e9", "1000000000"), "no noise level 1e+09"),
    ],
)
def test_bad_names_are_refused(name, cause, tiny):
    with pytest.raises(UsageError, match=re.escape(cause)) as error:
        load_extractor(name, CPU, model=tiny)
    assert error.value.hint


def test_it_needs_a_model():
    assert "model" in extractors()
    with pytest.raises(UsageError, match="there is no model here"):
        load_extractor("model", CPU)


def test_names_are_read():
    assert own_network("model") == (None, None)
    assert own_network("model:dec.8x8_in1@.5") == ("dec.8x8_in1", 0.5)
    assert own_network("model@2") == (None, 2.0)
    for other in ("model.pt", "models", "./model", "model:a/b", "model@", "bundled"):
        assert own_network(other) is None

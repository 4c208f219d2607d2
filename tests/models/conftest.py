import socket

import huggingface_hub.constants
import pytest
import torch
from diffusers import DDIMPipeline
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import UNet2DModel


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test here may reach for the network."""

    def refuse(*_):
        raise AssertionError("a test went to the network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def make_pipeline(tmp_path_factory):
    """(scheduler, channels, learned) → a pipeline folder with random weights, 8 × 8 images.

    Equal networks have equal weights.
    """

    def make(scheduler, channels=1, learned=False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet = UNet2DModel(
                sample_size=8,
                in_channels=channels,
                out_channels=channels * (2 if learned else 1),
                layers_per_block=1,
                block_out_channels=(8, 8),
                down_block_types=("DownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "UpBlock2D"),
                norm_num_groups=4,
                add_attention=False,
            )
        kind = DDPMPipeline if isinstance(scheduler, DDPMScheduler) else DDIMPipeline
        folder = tmp_path_factory.mktemp("pipeline")
        kind(unet=unet, scheduler=scheduler).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def ddpm_folder(make_pipeline):
    return make_pipeline(DDPMScheduler())


@pytest.fixture(scope="session")
def learned_folder(make_pipeline):
    return make_pipeline(DDPMScheduler(variance_type="learned_range"), learned=True)

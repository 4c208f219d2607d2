"""Pipelines of a UNet2DModel that sample latents, or from labels."""

import json
import shutil

import pytest
import torch
from diffusers import DDIMPipeline
from diffusers import DDIMScheduler
from diffusers import DiffusionPipeline
from diffusers import UNet2DModel
from diffusers import VQModel
from diffusers.pipelines.deprecated.latent_diffusion_uncond import pipeline_latent_diffusion_uncond

from lambda_search.diffusion.noise import balanced_labels
from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.schedule import LambdaSchedule
from tests.models.tiny_pipelines import autoencoder

ONE, N = LambdaSchedule(), 3
LDMPipeline = pipeline_latent_diffusion_uncond.LDMPipeline


def unet(channels, said=None, **config):
    return UNet2DModel(
        sample_size=8,
        in_channels=channels,
        out_channels=said or channels,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        add_attention=False,
        **config,
    )


def vq_model():
    return VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        num_vq_embeddings=16,
        norm_num_groups=4,
        scaling_factor=0.7,
    )


@pytest.fixture(scope="session")
def vq_folder(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = LDMPipeline(vq_model(), unet(3), DDIMScheduler(clip_sample=False))
    folder = tmp_path_factory.mktemp("ldm")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def kl_folder(vq_folder, tmp_path_factory):
    """The same with an AutoencoderKL under the name `vae`."""
    folder = shutil.copytree(vq_folder, tmp_path_factory.mktemp("ldm") / "kl")
    shutil.rmtree(folder / "vqvae")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        autoencoder(3, scaling_factor=0.5).save_pretrained(folder / "vae")
    index = json.loads((folder / "model_index.json").read_text())
    del index["vqvae"]
    index["vae"] = ["diffusers", "AutoencoderKL"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def refused(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.hint
    return caught.value.cause


def test_a_latent_pipeline_samples_as_the_library_does(vq_folder, monkeypatch):
    model = load_model("diffusers", vq_folder)
    found = sample(model, "ddim", 5, ONE, range(N), options={"batch": N})

    pipeline = DiffusionPipeline.from_pretrained(vq_folder)
    pipeline.set_progress_bar_config(disable=True)
    start = normal(0, range(N), 0, (3, 8, 8))
    monkeypatch.setattr(
        pipeline_latent_diffusion_uncond, "randn_tensor", lambda *_, **__: start.clone()
    )
    images = torch.from_numpy(
        pipeline(N, num_inference_steps=5, output_type="numpy").images
    ).permute(0, 3, 1, 2)
    assert found.shape == images.shape == (N, 3, 16, 16)
    assert ((found / 2 + 0.5).clamp(0, 1) - images).abs().max() < 1e-4


def test_latents_are_divided_by_the_scaling_factor_and_decoded(kl_folder):
    model = load_model("diffusers", kl_folder)
    latents = sample(model, "ddim", 4, ONE, range(N), options={"batch": N}, decode=False)
    images = sample(model, "ddim", 4, ONE, range(N), options={"batch": N})
    assert latents.shape == (N, 3, 8, 8)
    vae = type(autoencoder(3)).from_pretrained(kl_folder / "vae")
    with torch.no_grad():
        expected = vae.decode(latents / 0.5).sample
    assert torch.allclose(images, expected, atol=1e-5)


def test_the_decoder_is_part_of_the_name(vq_folder, kl_folder, tmp_path):
    vq, kl = load_model("diffusers", vq_folder), load_model("diffusers", kl_folder)
    assert vq.sha256 != kl.sha256
    assert vq.definition != kl.definition
    other = shutil.copytree(kl_folder, tmp_path / "other")
    path = other / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scaling_factor": 0.6}))
    rescaled = load_model("diffusers", other)
    assert rescaled.sha256 == kl.sha256
    assert rescaled.definition != kl.definition


@pytest.mark.parametrize("entry", [{"vqvae": [None, None]}, {"vqvae": None}])
def test_a_latent_pipeline_without_decoder(vq_folder, tmp_path, entry):
    folder = shutil.copytree(vq_folder, tmp_path / "own")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | entry))
    assert "names no vqvae" in refused(lambda: load_model("diffusers", folder))


def test_a_missing_decoder_folder(vq_folder, tmp_path):
    folder = shutil.copytree(vq_folder, tmp_path / "own")
    shutil.rmtree(folder / "vqvae")
    assert "has no folder vqvae" in refused(lambda: load_model("diffusers", folder))


def test_a_decoder_of_other_latents(kl_folder, tmp_path):
    folder = shutil.copytree(kl_folder, tmp_path / "own")
    shutil.rmtree(folder / "vae")
    autoencoder(4).save_pretrained(folder / "vae")
    cause = refused(lambda: load_model("diffusers", folder))
    assert "latents of 4 channels" in cause


# -- labels


@pytest.fixture(scope="session")
def class_folder(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = unet(1, num_class_embeds=4)
        network.class_embedding.weight.data.mul_(5)
    folder = tmp_path_factory.mktemp("classes")
    DDIMPipeline(unet=network, scheduler=DDIMScheduler()).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_labels_reach_the_network(class_folder):
    model = load_model("diffusers", class_folder)
    assert (model.classes, model.null_label) == (4, None)
    found = sample(model, "ddim", 5, ONE, range(8), options={"batch": 8})

    network = UNet2DModel.from_pretrained(class_folder / "unet")
    scheduler = DDIMScheduler.from_pretrained(class_folder / "scheduler")
    scheduler.set_timesteps(5)
    labels, x = balanced_labels(range(8), 4), normal(0, range(8), 0, (1, 8, 8))
    for t in scheduler.timesteps.tolist():
        out = network(x, t, class_labels=labels).sample
        x = scheduler.step(out, t, x, use_clipped_model_output=True).prev_sample
    assert (found - x).abs().max() < 1e-4
    chosen = torch.tensor([1] * 8)
    other = sample(model, "ddim", 5, ONE, range(8), labels=chosen, options={"batch": 8})
    same = labels == 1
    assert torch.allclose(other[same], found[same], atol=1e-5)
    assert not torch.allclose(other[~same], found[~same], atol=1e-2)


def test_labels_have_no_guidance(class_folder):
    model = load_model("diffusers", class_folder)
    assert "guidance" in refused(lambda: sample(model, "ddim", 2, ONE, range(2), guidance=2.0))


def test_other_conditions_are_refused(tmp_path):
    network = unet(1, class_embed_type="timestep")
    DDIMPipeline(unet=network, scheduler=DDIMScheduler()).save_pretrained(tmp_path / "own")
    assert "class_embed_type" in refused(lambda: load_model("diffusers", tmp_path / "own"))


def test_a_network_that_takes_more_than_the_state_is_refused(tmp_path):
    """As one that enlarges images does."""
    pipeline = DDIMPipeline(unet=unet(6, said=3), scheduler=DDIMScheduler())
    pipeline.save_pretrained(tmp_path / "own")
    assert "takes 6 channels" in refused(lambda: load_model("diffusers", tmp_path / "own"))

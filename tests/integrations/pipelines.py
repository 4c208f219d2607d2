"""Pipelines with tiny random networks, of every shape that λ meets."""

import torch
from diffusers import DDIMPipeline
from diffusers import DDIMScheduler
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import DiTPipeline
from diffusers import DiTTransformer2DModel
from diffusers import EulerAncestralDiscreteScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers import FluxImg2ImgPipeline
from diffusers import FluxPipeline
from diffusers import FluxTransformer2DModel
from diffusers import SD3Transformer2DModel
from diffusers import StableDiffusion3Pipeline
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers import StableDiffusionPipeline
from diffusers import StableDiffusionXLPipeline
from diffusers import UNet2DModel
from diffusers import VQModel
from diffusers.pipelines.deprecated.latent_diffusion_uncond import pipeline_latent_diffusion_uncond

from tests.models import tiny_pipelines as tiny

STEPS = 4
PROMPT = "two red dogs"


def unet(said=3):
    return UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=said,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        add_attention=False,
    )


def pixels(folder):
    return DDPMPipeline(unet(), DDPMScheduler())


def pixels_with_learned_variance(folder):
    return DDPMPipeline(unet(6), DDPMScheduler(variance_type="learned_range"))


def pixels_by_ddim(folder):
    return DDIMPipeline(unet(), DDIMScheduler())


def latents(folder):
    decoder = VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        num_vq_embeddings=16,
        norm_num_groups=4,
    )
    scheduler = DDIMScheduler(clip_sample=False)
    return pipeline_latent_diffusion_uncond.LDMPipeline(decoder, unet(), scheduler)


def text(folder):
    return StableDiffusionPipeline.from_pretrained(tiny.stable_diffusion(folder / "sd"))


def text_v(folder):
    scheduler = tiny.stable_ddim(prediction_type="v_prediction")
    return StableDiffusionPipeline.from_pretrained(tiny.stable_diffusion(folder / "v", scheduler))


def text_xl(folder):
    scheduler = EulerDiscreteScheduler(**tiny.STABLE, steps_offset=1)
    folder = tiny.stable_diffusion_xl(folder / "xl", scheduler)
    return StableDiffusionXLPipeline.from_pretrained(folder)


def text_in_half_precision(folder):
    scheduler = EulerAncestralDiscreteScheduler(**tiny.STABLE, steps_offset=1)
    folder = tiny.stable_diffusion(folder / "half", scheduler)
    return StableDiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)


def image(folder):
    return StableDiffusionImg2ImgPipeline.from_pretrained(tiny.stable_diffusion(folder / "image"))


def classes(folder):
    """With a learned variance beside ε."""
    network = DiTTransformer2DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    return DiTPipeline(network, tiny.autoencoder(), DDIMScheduler(clip_sample=False))


def flux(folder, kind=FluxPipeline):
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    return kind(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=tiny.autoencoder(shift_factor=0.1, scaling_factor=1.5),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=network,
    )


def flux_image(folder):
    return flux(folder, FluxImg2ImgPipeline)


def stable_diffusion_3(folder):
    network = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    return StableDiffusion3Pipeline(
        transformer=network,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny.autoencoder(shift_factor=0.1, scaling_factor=1.5),
        **{f"{part}{n}": None for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")},
    )


def embedded(*names, pooled=32):
    generator = torch.Generator().manual_seed(2)
    widths = {"prompt_embeds": (1, 5, 32), "negative_prompt_embeds": (1, 5, 32)}
    return {
        name: torch.randn(widths.get(name, (1, pooled)), generator=generator) for name in names
    }


FLUX = embedded("prompt_embeds", "pooled_prompt_embeds") | {"height": 16, "width": 16}
SD3 = embedded(
    "prompt_embeds",
    "pooled_prompt_embeds",
    "negative_prompt_embeds",
    "negative_pooled_prompt_embeds",
    pooled=64,
)
GUIDED = {"prompt": PROMPT, "guidance_scale": 4.0}
PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))

ASKED = {
    pixels: {},
    pixels_with_learned_variance: {},
    pixels_by_ddim: {},
    latents: {},
    text: GUIDED,
    text_v: GUIDED,
    text_xl: GUIDED,
    text_in_half_precision: GUIDED,
    image: GUIDED | {"image": PICTURE, "strength": 0.5},
    classes: {"class_labels": [3]},
    flux: FLUX,
    flux_image: FLUX | {"image": PICTURE, "strength": 0.5},
    stable_diffusion_3: SD3,
}


def make(build, folder):
    """The same networks every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = build(folder)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def images(pipeline, asked, steps=STEPS, **more):
    """What a pipeline makes of one seed, as an array."""
    generator = torch.Generator().manual_seed(7)
    return pipeline(
        generator=generator, num_inference_steps=steps, output_type="np", **asked, **more
    ).images

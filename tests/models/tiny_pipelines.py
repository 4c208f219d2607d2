"""Pipeline folders with tiny random networks, made without the network of networks."""

import json
import string

import torch
from diffusers import AutoencoderKL
from diffusers import DDIMScheduler
from diffusers import DiTPipeline
from diffusers import DiTTransformer2DModel
from diffusers import StableDiffusionPipeline
from diffusers import StableDiffusionXLPipeline
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig
from transformers import CLIPTextModel
from transformers import CLIPTextModelWithProjection
from transformers import CLIPTokenizer

TOKENS, WIDTH = 16, 32
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def stable_ddim(**config):
    """The scheduler of Stable Diffusion's folders."""
    usual = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return DDIMScheduler(**STABLE | usual | config)


def tokenizer(folder):
    """One token a letter; words end as CLIP's do."""
    letters = string.ascii_lowercase
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


def text_encoder(tokens, kind=CLIPTextModel):
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=WIDTH,
        intermediate_size=37,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    return kind(config)


def autoencoder(channels=4, **config):
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        **config,
    )


def conditional_unet(**config):
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **config,
    )


def stable_diffusion(folder, scheduler=None, unet=None, vae=None):
    """A StableDiffusionPipeline's folder: 16 × 16 pixels, latents 8 × 8, equal weights."""
    tokens = tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionPipeline(
            unet=conditional_unet(cross_attention_dim=WIDTH, **(unet or {})),
            scheduler=scheduler or stable_ddim(),
            vae=autoencoder(**(vae or {})),
            text_encoder=text_encoder(tokens),
            tokenizer=tokens,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


def stable_diffusion_xl(folder, scheduler=None, **options):
    """A StableDiffusionXLPipeline's folder, of the same sizes."""
    tokens = tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionXLPipeline(
            unet=conditional_unet(
                cross_attention_dim=2 * WIDTH,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            ),
            scheduler=scheduler or stable_ddim(),
            vae=autoencoder(scaling_factor=0.13025),
            text_encoder=text_encoder(tokens),
            tokenizer=tokens,
            text_encoder_2=text_encoder(tokens, CLIPTextModelWithProjection),
            tokenizer_2=tokens,
            add_watermarker=False,
            **options,
        )
    pipeline.save_pretrained(folder)
    return folder


def dit(folder, scheduler=None):
    """A DiTPipeline's folder: 16 × 16 pixels, latents 8 × 8, 1000 classes, weights that tell."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=8,
            activation_fn="gelu-approximate",
        )
        for parameter in transformer.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # a new one's modulation is 0
        pipeline = DiTPipeline(transformer, autoencoder(), scheduler or DDIMScheduler())
    pipeline.save_pretrained(folder)
    return folder

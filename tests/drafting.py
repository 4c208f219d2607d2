"""A checkpoint of every framework, and what `init` is told with it."""

import json
import shutil

import numpy as np
import torch
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from PIL import Image

from tests.golden import folder_of
from tests.golden import golden
from tests.models.test_diffusers_latents import unet
from tests.models.tiny_pipelines import autoencoder
from tests.models.tiny_pipelines import stable_diffusion

COUNTS = ("--steps", "4", "--trials", "3", "--rungs", "16", "--samples", "32")
COUNTS += ("--set", "sampler.batch=16", "--set", "search.parallel=2", "--set", "confirm.top=1")
"""So few that a study takes seconds."""


def pictures(folder, count=130):
    """Real images, more than the bundled extractor's features are wide."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{i}.png")
    return folder


def checkpoints(folder):
    """The arguments of `init` for each case, all files below `folder` or among the golden ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder().save_pretrained(folder / "vae")
        for name, classes in (("ddpm", None), ("labelled", 10)):
            pipeline = DDPMPipeline(unet(3, num_class_embeds=classes), DDPMScheduler())
            pipeline.save_pretrained(folder / name)
    stable_diffusion(folder / "text")
    (folder / "prompts.txt").write_text("a cat\na dog\n")
    (folder / "adm.json").write_text(json.dumps(golden("ADM/cifar_like").config["model_flags"]))
    (folder / "dit.json").write_text(json.dumps(golden("DiT/tiny").config["model_kwargs"]))
    shutil.copytree(folder_of("LDM/celeba_like"), folder / "ldm")
    return {
        "adm": (folder_of("ADM/cifar_like/model.pt"), "--config", "adm.json"),
        "ddim": (
            folder_of("DDIM/cifar_like/model.pth"),
            "--config",
            folder_of("DDIM/cifar_like/config.yml"),
        ),
        "edm": (folder_of("EDM/ddpmpp_uncond/network.pkl"),),
        "ldm": ("ldm", "--site", "x0_only"),
        "dit": (folder_of("DiT/tiny/0050000.pt"), "--config", "dit.json", "--vae", "vae"),
        "pfgmpp": (folder_of("PFGM++/ddpmpp_uncond/training-state-000123.pt"),),
        "ddpm": ("ddpm",),
        "labelled": ("labelled", "--sampler", "ddim"),
        "text": ("text", "--prompts", "prompts.txt"),
    }


CASES = ("adm", "ddim", "edm", "ldm", "dit", "pfgmpp", "ddpm", "labelled", "text")

"""Networks with weights that a rule makes, and what the authors' own code computed with them.

`tests/data/adm_variants.npz` was written by running openai/guided-diffusion's `unet.py`,
forever208/ADM-ES's samplers (54ad3ad) and CompVis/latent-diffusion's `openaimodel.py` on the CPU
with the weights of `ruled`, the inputs of `normal` and the arguments that the tests name. A run
holds the states after each of its steps.
"""

import zlib
from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).parent.parent / "data" / "adm_variants.npz"


def golden(name):
    with np.load(FILE) as file:
        return torch.from_numpy(file[name.replace(" ", "_")])


def normal(name, *shape):
    """Normal noise, float32, from its name."""
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.tensor(draw, dtype=torch.float32)


def ruled(network):
    """The state dict of `network`, each tensor drawn from its name and scaled by its fan-in."""
    state = {}
    for name, tensor in network.state_dict().items():
        draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tensor.shape)
        if tensor.ndim > 1:
            draw /= np.prod(tensor.shape[1:]) ** 0.5
        else:
            draw = 0.1 * draw + name.endswith("weight")
        state[name] = torch.tensor(draw, dtype=torch.float32)
    return state

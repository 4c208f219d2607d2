"""DiT as diffusers has it (Peebles & Xie, arXiv:2212.09748): latents sampled from class labels.

The null label is one above the classes. As in the authors' and the library's own loops, guidance
pulls on the prediction of the noise alone; the learned variance is the conditional one's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import cast

import diffusers
import torch
from torch import Tensor

from lambda_search.diffusion.schedulers import make_scheduler
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.decoders import autoencoder
from lambda_search.models.diffusers.files import all_weights
from lambda_search.models.diffusers.files import check_size
from lambda_search.models.diffusers.files import plain
from lambda_search.models.diffusers.files import read_part
from lambda_search.models.diffusers.model import DiffusersModel
from lambda_search.models.diffusers.networks import read_network
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.diffusers.parts import networks_of
from lambda_search.models.diffusers.prompts import NoiseConfig
from lambda_search.models.guidance import guided
from lambda_search.setting import fingerprint

__all__ = ["LabelModel", "load_from_labels"]


class LabelModel(DiffusersModel):
    """A transformer that is told a class."""

    def _output(
        self, x: Tensor, timestep: Tensor, labels: Tensor | None, guidance: float | None
    ) -> Tensor:
        assert labels is not None

        def network(states: Tensor, labels: Tensor) -> Tensor:
            timesteps = timestep.expand(len(states)).contiguous()
            return cast(Tensor, self._network(states, timesteps, labels))

        return guided(network, x, labels, self.null_label, guidance, channels=x.shape[1])


def load_from_labels(
    folder: Path, parts: Mapping[str, str], told: NoiseConfig, device: torch.device
) -> LabelModel:
    """A DiTPipeline's folder.

    Arguments:
        folder: of the pipeline.
        parts: the class of each part.
        told: which weights, and another scheduler.
        device: where to compute.

    Raises:
        UsageError: for weights that are missing or not those of the configuration, and for a
            transformer of another kind.
    """
    scheduler = make_scheduler(
        parts["scheduler"], told.scheduler or read_part(folder, "scheduler")
    )
    files = all_weights(folder, dict.fromkeys(networks_of(parts), "diffusers"), told.variant)
    config = read_part(folder, "transformer")
    if config.get("norm_type", "ada_norm_zero") != "ada_norm_zero":
        raise UsageError(
            f"The transformer in {folder} is none of DiT: its norm_type is "
            f"{ascii(config['norm_type'])[:80]}.",
            "Use the folder of a DiTPipeline.",
        )
    kinds: Mapping[str, Any] = {
        "transformer": diffusers.DiTTransformer2DModel,  # the older name had several networks
        "vae": diffusers.AutoencoderKL,
    }
    transformer, vae = (
        read_network(
            kinds[part],
            read_part(folder, part),
            read_state(files[part], str(folder)),
            str(folder),
        )
        for part in ("transformer", "vae")
    )
    words: Any = transformer.config
    height, width = check_size((words.sample_size, words.sample_size))
    known = inspect.signature(diffusers.DiTTransformer2DModel.__init__).parameters
    network = {name: value for name, value in plain(words).items() if name in known}
    return LabelModel(
        transformer,
        scheduler,
        sha256_of(*(file for held in files.values() for file in held)),
        fingerprint([network, plain(scheduler.config), parts["scheduler"], plain(vae.config)]),
        (words.in_channels, height, width),
        device,
        decoder=autoencoder(vae, words.in_channels, device),
        classes=words.num_embeds_ada_norm,
        null_label=words.num_embeds_ada_norm,
    )

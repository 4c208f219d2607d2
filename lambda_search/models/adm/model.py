"""ADM models (Dhariwal & Nichol 2021, arXiv:2105.05233; the models of arXiv:2308.15321's ADM-ES).

A checkpoint is a plain state dict; the flags of the authors' scripts say how to build its network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.adm.classifier import classifier_arguments
from lambda_search.models.adm.config import ADMFlags
from lambda_search.models.adm.config import read_flags
from lambda_search.models.adm.encoder import Encoder
from lambda_search.models.adm.presets import PRESETS
from lambda_search.models.checkpoints import find
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.checkpoints import read_config
from lambda_search.models.guidance import class_score
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.networks.unet import UNet
from lambda_search.models.options import filled
from lambda_search.models.registry import Config
from lambda_search.models.registry import ConfigNeeded
from lambda_search.models.registry import Framework
from lambda_search.models.respacing import DiscreteSchedule
from lambda_search.models.respacing import RespacedModel
from lambda_search.models.respacing import respacing_word
from lambda_search.models.running import Replayed
from lambda_search.models.sizes import MOST_CHANNELS
from lambda_search.models.sizes import built
from lambda_search.models.states import state_of
from lambda_search.models.states import tensors
from lambda_search.paths import locate
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "ADMModel", "load"]

_FIRST = "input_blocks.0.0.weight"


class ADMModel(RespacedModel):
    """A U-Net that predicts ε or x0 of pixels, with or without v, and perhaps a classifier.

    Arguments:
        network: told (rescaled) original timesteps, and labels with class_cond.
        flags: how it was trained, and its scripts' defaults.
        sha256: of all weights.
        definition: of all that the weights are run with.
        device: where to compute.
        classes: how many labels; None without class_cond and classifier.
        classifier: of noisy images; guides sampling towards the labels.
    """

    samplers = ("ancestral", "ddim")

    def __init__(
        self,
        network: UNet,
        flags: ADMFlags,
        sha256: str,
        definition: str,
        device: torch.device,
        classes: int | None,
        classifier: Encoder | None = None,
    ) -> None:
        super().__init__(
            "adm",
            sha256,
            definition,
            (network.in_channels, flags.image_size, flags.image_size),
            device,
            classes=classes,
        )
        self._network = Replayed(network, device)
        self._classifier = classifier and classifier.eval().requires_grad_(False).to(device)
        self._flags = flags
        if flags.predict_xstart:  # ε = (x − αx0)/σ holds x0 in its last digits where α is small
            self.dtype = torch.float64
        self.schedule = DiscreteSchedule.of(
            flags.noise_schedule, flags.diffusion_steps, flags.rescale_timesteps
        )

    def filled(self, sampling: Sampling) -> SamplerOptions:
        flags = self._flags
        guides = {"classifier_scale": flags.classifier_scale}
        return filled(
            sampling,
            grid=respacing_word(
                sampling.options.grid or flags.grid(sampling.steps), sampling.steps
            ),
            clip=flags.clip_denoised,
            variance=flags.variance,
            learned=flags.learn_sigma,
            beside=None if self._classifier is None else guides,
        )

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        times = torch.full((len(x),), level.timestep, device=x.device)
        seen = x.float()
        out = self._network(seen, times, labels).to(x.dtype)
        variance_logit = None
        if self._flags.learn_sigma:
            out, variance_logit = out.chunk(2, dim=1)
        if self._flags.predict_xstart:
            out = (x - level.alpha * out) / level.sigma
        score, scale = None, sampling.options.classifier_scale
        if self._classifier is not None and scale:
            assert labels is not None
            score = scale * class_score(self._classifier, seen, times, labels).to(x.dtype)
        return Prediction(out, variance_logit, score)

    def blocks(self) -> tuple[nn.Module, str]:
        return self._network.network, "middle_block"


def load(checkpoint: str, config: Config, device: torch.device) -> ADMModel:
    """Reads a `.pt` or `.safetensors` file, and the classifier's if the config names one.

    Raises:
        UsageError: for a config or a checkpoint that is missing, broken, or does not match.
    """
    path = find(checkpoint)
    state = tensors(read_checkpoint(path), str(path))
    if config is None:
        raise ConfigNeeded(
            "An ADM checkpoint does not say how its network is built.",
            f"Give a config: the flags of its scripts, or preset: {', '.join(PRESETS)}.",
        )
    flags, guide = read_flags(read_config(config))
    channels = flags.in_channels or _channels(state)
    told, files = flags.network(channels), [path]
    classes: int | None = told["num_classes"]
    guide_told = None
    if guide is not None:
        files.append(_classifier_file(guide, path))
        guide_told = classifier_arguments(guide, flags.image_size, flags.classes)
        known: int = guide_told["out_channels"]
        if classes not in (None, known):
            raise UsageError(
                f"The classifier knows {known} classes, the network {classes}.",
                "Set num_classes, or take the classifier of the same data set.",
            )
        classes = known
        if channels != 3:
            guide_told.setdefault("in_channels", channels)
    network = built(lambda: UNet(**told), "ADM")
    load_weights(network, state, str(path))
    classifier = None
    if guide_told is not None:
        arguments, file = guide_told, files[1]
        classifier = built(lambda: Encoder(**arguments), "ADM classifier's")
        load_weights(classifier, tensors(read_checkpoint(file), str(file)), str(file))
    diffusion = flags.model_dump(
        include={"diffusion_steps", "noise_schedule", "predict_xstart", "rescale_timesteps"}
    )
    definition = fingerprint([told, diffusion, guide_told])
    return ADMModel(network, flags, sha256_of(*files), definition, device, classes, classifier)


def _channels(state: Mapping[str, Tensor]) -> int:
    """Of the images, by the first convolution; 3 where the weights are of another network."""
    first = state.get(_FIRST)
    return min(int(first.shape[1]), MOST_CHANNELS) if first is not None and first.ndim == 4 else 3


def _classifier_file(guide: Mapping[str, Any], beside: Path) -> Path:
    """The classifier's checkpoint; a relative path may start at the model's folder as well."""
    name = guide.get("checkpoint")
    if not isinstance(name, str | Path):
        raise UsageError(
            "The ADM config: classifier has no checkpoint.",
            "Write classifier: {checkpoint: PATH} and its flags.",
        )
    return locate(str(name), beside.parent) or find(str(name))


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    state = state_of(content)
    marks = (_FIRST, "output_blocks.0.0.in_layers.0.weight")
    return state if state is not None and all(mark in state for mark in marks) else None


FRAMEWORK = Framework(
    load,
    ADMModel.samplers,
    _weights,
    needs="Pass the flags of its scripts, or a preset, as the config.",
    licence="MIT (openai/guided-diffusion, forever208/ADM-ES)",
)

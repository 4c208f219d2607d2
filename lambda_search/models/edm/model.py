"""EDM: pickled networks of NVlabs/edm, sampled by Heun's or Euler's method on σ in float64.

The file holds a network with its arguments and no schedule; the grid is the authors' own. The
published weights are CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import partial
from typing import Any
from typing import Self
from typing import cast

import torch
from pydantic import Field
from pydantic import model_validator
from torch import Tensor
from torch import nn
from torch.nn.functional import one_hot

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.ode import MOST_CHURN
from lambda_search.diffusion.ode import Churn
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import find
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.edm.checkpoint import PersistentNetwork
from lambda_search.models.edm.checkpoint import config_of
from lambda_search.models.edm.checkpoint import read_network
from lambda_search.models.edm.checkpoint import weights_of
from lambda_search.models.edm.grid import SIGMA_MAX
from lambda_search.models.edm.grid import karras_grid
from lambda_search.models.edm.networks import DhariwalUNet
from lambda_search.models.edm.networks import SongUNet
from lambda_search.models.edm.preconditioning import Edm
from lambda_search.models.edm.preconditioning import Iddpm
from lambda_search.models.edm.preconditioning import Preconditioned
from lambda_search.models.edm.preconditioning import Preconditioning
from lambda_search.models.edm.preconditioning import Ve
from lambda_search.models.edm.preconditioning import Vp
from lambda_search.models.inputs import Section
from lambda_search.models.inputs import validated
from lambda_search.models.options import refuse_options
from lambda_search.models.registry import Config
from lambda_search.models.registry import Framework
from lambda_search.models.running import Replayed
from lambda_search.models.sizes import MOST_CHANNELS
from lambda_search.models.sizes import MOST_CLASSES
from lambda_search.models.sizes import MOST_TIMESTEPS
from lambda_search.models.sizes import Channels
from lambda_search.models.sizes import Multipliers
from lambda_search.models.sizes import Pixels
from lambda_search.models.sizes import Resolutions
from lambda_search.models.sizes import check_parts
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "EdmModel", "build", "load"]

_STILL: Mapping[str, float | None] = {
    "s_churn": 0.0,
    "s_min": None,
    "s_max": None,
    "s_noise": None,
}

_NETWORKS = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}
_PRECONDITIONINGS: dict[str, tuple[type[Any], str]] = {
    "EDMPrecond": (Edm, "DhariwalUNet"),
    "VPPrecond": (Vp, "SongUNet"),
    "VEPrecond": (Ve, "SongUNet"),
    "iDDPMPrecond": (Iddpm, "DhariwalUNet"),
}
_TRAINING_ONLY = {"use_fp16", "dropout", "label_dropout", "pfgmpp", "D"}


class _Sizes(Section):
    """The arguments that decide how much is built, within bounds; the classes check the rest."""

    img_resolution: Pixels
    img_channels: Channels
    label_dim: int = Field(default=0, ge=0, le=MOST_CLASSES)
    augment_dim: int = Field(default=0, ge=0, le=MOST_CHANNELS)
    model_channels: Channels = 128
    channel_mult: Multipliers = (1, 2, 2, 2)
    channel_mult_emb: int = Field(default=4, ge=1, le=1024)
    channel_mult_noise: int = Field(default=1, ge=1, le=1024)
    num_blocks: int = Field(default=4, ge=0)
    attn_resolutions: Resolutions = ()
    resample_filter: tuple[float, ...] = Field(default=(1, 1), max_length=64)
    sigma_min: float = Field(default=0.0, ge=0, strict=True)
    sigma_max: float = Field(default=math.inf, gt=0, strict=True, allow_inf_nan=True)
    M: int = Field(default=1000, ge=1, le=MOST_TIMESTEPS)

    @model_validator(mode="after")
    def _is_small(self) -> Self:
        check_parts(len(self.channel_mult), self.num_blocks)
        return self


class EdmModel(Model):
    """A preconditioned network.

    Arguments:
        network: the denoiser.
        definition: its class and arguments, as the file has them.
        sha256: of the file.
        device: where to compute.
    """

    samplers = ("euler", "heun")
    dtype = torch.float64

    def __init__(
        self,
        network: Preconditioned,
        definition: Mapping[str, Any],
        sha256: str,
        device: torch.device,
        framework: str = "edm",
    ) -> None:
        side, channels = definition["img_resolution"], definition["img_channels"]
        super().__init__(
            framework,
            sha256,
            fingerprint(definition),
            (channels, side, side),
            device,
            classes=definition.get("label_dim") or None,
        )
        self._network = Preconditioned(
            Replayed(network.model, device), network.preconditioning, network.channels
        )
        self._known = network.preconditioning
        self.sigma_max = min(SIGMA_MAX, self._known.sigma_max)

    def filled(self, sampling: Sampling) -> SamplerOptions:
        refuse_options(sampling, "s_churn", "s_min", "s_max", "s_noise")
        options = sampling.options
        if not options.s_churn:
            return options.model_copy(update=_STILL)
        noise = 1.0 if options.s_noise is None else options.s_noise
        return options.model_copy(update={"s_min": options.s_min or 0.0, "s_noise": noise})

    def grid(self, sampling: Sampling) -> Grid:
        return karras_grid(sampling.steps, self._known)

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        """Churn is told by the levels that it raises, and by no more than the most there is."""
        options, steps = sampling.options, len(grid)
        churn = Churn.of(options)
        within = [s for s in grid.sigma if churn.low <= s <= churn.high]
        if not any(self.rounded(churn.raised(s, steps)) > s for s in within):
            return sampling.model_copy(update={"options": options.model_copy(update=_STILL)})
        most = churn.amount / steps >= MOST_CHURN  # of all that is too much, a whole number
        told = {
            "s_churn": float(math.ceil(MOST_CHURN * steps)) if most else churn.amount,
            "s_min": 0.0 if within[0] == grid.sigma[0] else within[0],
            "s_max": None if within[-1] == grid.sigma[-1] else within[-1],
        }
        return sampling.model_copy(update={"options": options.model_copy(update=told)})

    def rounded(self, sigma: float) -> float:
        return self._known.rounded(sigma)

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        return x_T * grid.sigma[-1]

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        told = None
        if self.classes is not None and labels is not None:
            told = one_hot(labels, self.classes).to(torch.float32)
        denoised = self._network(x.to(torch.float32), level.sigma, told)
        return Prediction((x - denoised.to(x.dtype)) / level.sigma)

    def blocks(self) -> tuple[nn.Module, str]:
        unet = cast(SongUNet | DhariwalUNet, cast(Replayed, self._network.model).network)
        return unet, next(f"dec.{name}" for name in unet.dec if name.endswith("_in1"))


def load(checkpoint: str, config: Config, device: torch.device) -> Model:
    """Reads a `.pkl`, or what `lambda-search models convert` made of one."""
    read = read_network(find(checkpoint), config)
    if read.arguments.get("pfgmpp"):
        raise UsageError(f"{checkpoint} is a PFGM++ network.", "Name it with framework: pfgmpp.")
    network = loaded(read, checkpoint)
    return EdmModel(network, read.definition, sha256_of(find(checkpoint)), device)


def loaded(read: PersistentNetwork, source: str) -> Preconditioned:
    """The network that a file describes, with its weights."""
    with torch.device("meta"):
        network = build(read.class_name, read.arguments)
    # u only repeats what iDDPM's arguments say
    state = {name: tensor for name, tensor in read.state.items() if name != "u"}
    load_weights(network, state, source)
    return network


def build(class_name: str, arguments: Mapping[str, Any]) -> Preconditioned:
    """The denoiser of the class and arguments that a checkpoint records, without weights.

    Arguments:
        class_name: `training.networks.EDMPrecond` and so on; the last part counts.
        arguments: by the authors' names.

    Raises:
        UsageError: for a class or an argument that is not known.
    """
    short = class_name.rpartition(".")[2]
    if short not in _PRECONDITIONINGS:
        raise UsageError(
            f"The network class '{printable(short)}' is not known.",
            f"Known: {', '.join(_PRECONDITIONINGS)}.",
        )
    preconditioning, usual = _PRECONDITIONINGS[short]
    rest = {name: value for name, value in arguments.items() if name not in _TRAINING_ONLY}
    kind = rest.pop("model_type", usual)
    if not isinstance(kind, str) or kind not in _NETWORKS:
        raise UsageError(
            f"The network type '{printable(str(kind))}' is not known.",
            f"Known: {', '.join(_NETWORKS)}.",
        )
    sizes = validated(_Sizes, rest, short)
    own = {name: rest.pop(name) for name in _names(preconditioning) if name in rest}
    rest.pop("img_channels")
    outputs = sizes.img_channels * (2 if preconditioning is Iddpm else 1)
    network = partial(_NETWORKS[kind], in_channels=sizes.img_channels, out_channels=outputs)
    try:
        level: Preconditioning = preconditioning(**own)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(
            f"The arguments do not fit {short}: {_said(error)}.",
            f"It takes {', '.join(_names(preconditioning))}.",
        ) from error
    try:
        return Preconditioned(network(**rest), level, sizes.img_channels)
    except (TypeError, KeyError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UsageError(
            f"The network's arguments do not fit {kind}: {_said(error)}.",
            f"It takes {', '.join(_names(_NETWORKS[kind]))}.",
        ) from error


def _said(error: Exception) -> str:
    return printable(first_line(error).rpartition("() ")[2])


def _names(made: type[nn.Module] | type[Any]) -> list[str]:
    return list(inspect.signature(made).parameters)


FRAMEWORK = Framework(
    load,
    EdmModel.samplers,
    weights_of,
    config_of,
    needs="Keep the .json that was written beside it.",
    licence="CC BY-NC-SA 4.0 (NVlabs/edm)",
)

"""Networks of published shapes with random weights, and two ways to sample them.

The ways: a plain loop as the papers have it, and ours. Of the package only what torch and numpy
carry is used, so that this runs on a bare machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.noise import balanced_labels
from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.ode import solve_ode
from lambda_search.diffusion.samplers import Ancestral
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import integrate
from lambda_search.models.dit.network import DiTNetwork
from lambda_search.models.drawing import drawn
from lambda_search.models.edm.grid import karras_grid
from lambda_search.models.edm.networks import SongUNet
from lambda_search.models.edm.preconditioning import Edm
from lambda_search.models.edm.preconditioning import Preconditioned
from lambda_search.models.networks.unet import UNet
from lambda_search.models.respacing import DiscreteSchedule
from lambda_search.models.running import Replayed
from lambda_search.models.running import sent
from lambda_search.schedule import LambdaSchedule

__all__ = ["SHAPES", "Shape", "replayed"]

_LAMBDA = LambdaSchedule(1.01, 0.001)


@dataclass(frozen=True)
class Shape:
    """A network, how it is sampled, and its state.

    Arguments:
        network: builds it; with True, a narrow one of the same make.
        sampler: `ancestral` (a learned variance) or `heun`.
        state: (c, h, w).
        noise_schedule: of the ancestral ones.
        classes: of a conditional one.
        clip: whether x0 is clipped.
        steps: solver steps.
    """

    network: Callable[[bool], nn.Module]
    sampler: str
    state: tuple[int, int, int]
    noise_schedule: str = ""
    classes: int | None = None
    clip: bool = False
    steps: int = 10

    def built(self, device: torch.device, small: bool) -> nn.Module:
        """The network; random weights that keep the size of what passes through."""
        torch.manual_seed(0)
        with torch.device("meta"):
            network = self.network(small)
        network = network.to_empty(device="cpu").eval().requires_grad_(False)
        for tensor in (*network.parameters(), *network.buffers()):
            width = tensor[0].numel()
            nn.init.normal_(tensor, std=width**-0.5) if tensor.ndim > 1 else tensor.fill_(0.5)
        return network.to(device)

    def grid(self) -> Grid:
        """The steps."""
        if self.sampler == "heun":
            return karras_grid(self.steps, Edm())
        return DiscreteSchedule.of(self.noise_schedule, 1000).grid(None, self.steps)

    def labels(self, indices: Sequence[int], device: torch.device) -> Tensor | None:
        """Those of samples `indices`."""
        if self.classes is None:
            return None
        return sent(balanced_labels(indices, self.classes), device, torch.int64)

    @torch.inference_mode()
    def ours(
        self,
        network: nn.Module,
        indices: Sequence[int],
        device: torch.device,
        around: Callable[[], AbstractContextManager[object]],
        ahead: bool = True,
    ) -> Tensor:
        """The states of samples `indices` by our samplers.

        Arguments:
            network, device: what computes, and where.
            indices: which samples.
            around: surrounds every call of the network.
            ahead: whether noise is drawn a step ahead.
        """
        labels, grid, lambdas = self.labels(indices, device), self.grid(), _LAMBDA
        values = lambdas.values(len(grid))

        def seen(x: Tensor, level: Level) -> Prediction:
            with around():
                if isinstance(network, Preconditioned):
                    denoised = network(x.float(), level.sigma)
                    return Prediction((x - denoised.to(x.dtype)) / level.sigma)
                times = torch.full((len(x),), level.timestep, device=device)
                epsilon, variance = network(x, times, labels).to(x.dtype).chunk(2, dim=1)
                return Prediction(epsilon, variance)

        def draw(j: int) -> Tensor:
            return normal(0, indices, j, self.state)

        dtype = torch.float64 if self.sampler == "heun" else torch.float32
        with drawn(draw, len(grid) - 1 if ahead else 0, device, dtype) as here:
            if self.sampler == "heun":
                start = here(0) * grid.sigma[-1]
                return solve_ode(seen, grid, values, start, here, second_order=True)
            rule = Ancestral("learned")
            return integrate(seen, grid, rule, values, here(0), here, clip=self.clip)

    @torch.inference_mode()
    def plain(self, network: nn.Module, indices: Sequence[int], device: torch.device) -> Tensor:
        """As many states by the loop that a paper has, its noise from the device."""
        labels, grid = self.labels(indices, device), self.grid()
        x = torch.randn(len(indices), *self.state, device=device)
        if self.sampler == "heun":
            return _plain_heun(network, grid, x)
        for i in reversed(range(len(grid))):
            times = torch.full((len(x),), grid.timesteps[i], device=device)
            epsilon, v = network(x, times, labels).chunk(2, dim=1)
            signal, before = grid.alpha[i] ** 2, grid.alpha_next[i] ** 2
            beta = 1 - signal / before
            x0 = (x - grid.sigma[i] * epsilon) / grid.alpha[i]
            x0 = x0.clamp(-1, 1) if self.clip else x0
            mean = beta * before**0.5 * x0 + (1 - before) * (1 - beta) ** 0.5 * x
            x = mean / (1 - signal)
            if i:
                small = math.log(beta * (1 - before) / (1 - signal))
                share = (v + 1) / 2
                log_variance = share * math.log(beta) + (1 - share) * small
                x = x + (0.5 * log_variance).exp() * torch.randn_like(x)
        return x


def _plain_heun(network: nn.Module, grid: Grid, x: Tensor) -> Tensor:
    x = x.double() * grid.sigma[-1]
    for i in reversed(range(len(grid))):
        now, after = grid.sigma[i], grid.sigma_next[i]
        slope = (x - network(x.float(), now).double()) / now
        ahead = x + (after - now) * slope
        if i:
            there = (ahead - network(ahead.float(), after).double()) / after
            ahead = x + (after - now) * (slope + there) / 2
        x = ahead
    return x


def _adm(small: bool) -> nn.Module:
    """The flags of the preset adm-cifar10."""
    return UNet(
        in_channels=3,
        out_channels=6,
        model_channels=32 if small else 128,
        num_res_blocks=1 if small else 3,
        attention_resolutions=[2, 4],
        channel_mult=[1, 2, 2, 2],
        num_heads=4,
        num_head_channels=32,
        use_scale_shift_norm=True,
        resblock_updown=True,
        use_new_attention_order=True,
    )


def _edm(small: bool, **arguments: object) -> nn.Module:
    network = SongUNet(
        img_resolution=32,
        in_channels=3,
        out_channels=3,
        model_channels=16 if small else 128,
        channel_mult=(2, 2, 2),
        num_blocks=1 if small else 4,
        **arguments,  # type: ignore[arg-type]
    )
    return Preconditioned(network, Edm(), 3)


def _ncsnpp(small: bool) -> nn.Module:
    return _edm(
        small,
        embedding_type="fourier",
        encoder_type="residual",
        resample_filter=(1, 3, 3, 1),
        channel_mult_noise=2,
    )


def _dit(small: bool) -> nn.Module:
    return DiTNetwork(
        input_size=32,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        hidden_size=64 if small else 1152,
        depth=2 if small else 28,
        num_heads=4 if small else 16,
        mlp_ratio=4.0,
        labels=1001,
    )


def replayed(network: nn.Module, device: torch.device, records: bool = True) -> nn.Module:
    """`network` as our models hold it."""
    if isinstance(network, Preconditioned):
        inner = Replayed(network.model, device, records)
        return Preconditioned(inner, network.preconditioning, network.channels)
    return Replayed(network, device, records)


SHAPES = {
    "ADM CIFAR-10": Shape(_adm, "ancestral", (3, 32, 32), "cosine", clip=True),
    "EDM CIFAR-10 DDPM++": Shape(_edm, "heun", (3, 32, 32), steps=6),
    "EDM CIFAR-10 NCSN++": Shape(_ncsnpp, "heun", (3, 32, 32), steps=6),
    "DiT-XL/2 256": Shape(_dit, "ancestral", (4, 32, 32), "linear", 1000, steps=5),
}

#!/usr/bin/env python
"""Train the bundled diffusion model on Fashion-MNIST and save it as a diffusers pipeline.

    train_bundled.py train --folder runs/a --images 2000000 --cooldown 300000
    torchrun --nproc-per-node 2 scripts/train_bundled.py train --folder runs/a …    # two cores
    train_bundled.py export --folder runs/a --out lambda_search/models/bundled/fashion-mnist

The recipe is ADM's on CIFAR-10 (Nichol & Dhariwal 2021, arXiv:2102.09672; Dhariwal & Nichol 2021):
a DDPM (Ho et al. 2020, arXiv:2006.11239) that predicts noise, cosine schedule, learned-range
variance, dropout, moving average of the weights. Stop it at any time: the same command goes on
from the last checkpoint, with the same random numbers.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from typing import Any

import fashion_mnist
import torch
import torch.distributed as dist
import typer
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import UNet2DModel
from safetensors.torch import load_file
from safetensors.torch import save_file
from torch import Tensor
from torch import nn
from torch.nn.parallel import DistributedDataParallel

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
TIMESTEPS = 1000
BETAS = {"cosine": "squaredcos_cap_v2", "linear": "linear"}


def make_scheduler(schedule: str) -> DDPMScheduler:
    """The scheduler that belongs to the trained network: 1000 steps, learned-range variance."""
    return DDPMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule=BETAS[schedule],
        variance_type="learned_range",
        clip_sample=True,
        timestep_spacing="linspace",
        prediction_type="epsilon",
    )


def make_network(dropout: float) -> UNet2DModel:
    """A U-Net of 0.6 M parameters: ε and v of 28 x 28 grey images, most arithmetic at 14 x 14."""
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=2,
        layers_per_block=1,
        block_out_channels=(8, 32, 64),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=128,
        attention_head_dim=32,
        dropout=dropout,
    )


class Diffusion:
    """The forward process q and the training loss, for data in [-1, 1].

    With ᾱ_t = ∏(1 − β_s): q(x_t | x_0) = N(√ᾱ_t x_0, 1 − ᾱ_t), and q(x_{t−1} | x_t, x_0) has the
    variance β̃_t = β_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t) (Ho et al. 2020, eq. 4 and 7). β̃_0 = 0 is
    replaced by β̃_1.
    """

    def __init__(self, betas: Tensor, device: torch.device) -> None:
        betas = betas.double()
        alpha_bar = (1 - betas).cumprod(0)
        before = torch.cat([torch.ones(1).double(), alpha_bar[:-1]])
        posterior = betas * (1 - before) / (1 - alpha_bar)
        posterior[0] = posterior[1]
        # the squared distance of two posterior means is β²/(α(1 − ᾱ)) times that of their ε
        mean_scale = betas.square() / ((1 - betas) * (1 - alpha_bar))
        tables = (alpha_bar, betas.log(), posterior.log(), mean_scale)
        self.alpha_bar, self.log_beta, self.log_posterior, self.mean_scale = (
            table.float().to(device)[:, None, None, None] for table in tables
        )

    def diffuse(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε."""
        alpha_bar = self.alpha_bar[t]
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise

    def loss(self, output: Tensor, x0: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """L_simple and L_vlb per image (Nichol & Dhariwal 2021, eq. 16).

        `output` holds ε and v; v ∈ [−1, 1] interpolates the log variance between β̃_t and β_t (eq.
        15). L_vlb is the bound's term at t in bits per dimension; its gradient reaches the
        variance alone.
        """
        epsilon, v = output.chunk(2, dim=1)
        error = (noise - epsilon).square()
        fraction = (v + 1) / 2
        log_variance = fraction * self.log_beta[t] + (1 - fraction) * self.log_posterior[t]
        error_fixed = error.detach()
        quadratic = self.mean_scale[t] * error_fixed * (-log_variance).exp()
        gap = log_variance - self.log_posterior[t]
        kl = 0.5 * (gap + (-gap).exp() - 1 + quadratic)
        sigma = (0.5 * log_variance).exp()
        offset = (1 / self.alpha_bar[t] - 1).sqrt() * (noise - epsilon).detach()
        bound = torch.where((t == 0)[:, None, None, None], discretised_nll(x0, offset, sigma), kl)
        return error.mean((1, 2, 3)), bound.mean((1, 2, 3)) / math.log(2)


def discretised_nll(x0: Tensor, offset: Tensor, sigma: Tensor) -> Tensor:
    """−log of N(x0 + offset, σ²)'s mass on x0's 8-bit bin (Ho et al. 2020, eq. 13)."""
    upper = torch.special.ndtr((1 / 255 - offset) / sigma)
    lower = torch.special.ndtr((-1 / 255 - offset) / sigma)
    upper = torch.where(x0 > 0.999, torch.ones_like(upper), upper)
    lower = torch.where(x0 < -0.999, torch.zeros_like(lower), lower)
    return -(upper - lower).clamp(min=1e-12).log()


def stratified_timesteps(n: int) -> Tensor:
    """Uniform timesteps that share one offset (Kingma et al. 2021, arXiv:2107.00630, I.1)."""
    return (((torch.rand(()) + torch.arange(n) / n) % 1) * TIMESTEPS).long()


@dataclass
class Run:
    """A training run in `folder`: weights, moving average, optimiser, images seen."""

    folder: Path
    model: UNet2DModel
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    images: int = 0
    seconds: float = 0.0

    @classmethod
    def open(cls, folder: Path, options: dict[str, Any], device: torch.device) -> Run:
        """The run saved in `folder`, or a new one."""
        model = make_network(options["dropout"]).to(device)
        model = model.to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=options["lr"], betas=(0.9, 0.99), weight_decay=0.0
        )
        average = {name: p.detach().clone() for name, p in model.named_parameters()}
        run = cls(folder, model, average, optimiser)
        if run.checkpoint.exists():
            saved = torch.load(run.checkpoint, map_location=device, weights_only=True)
            model.load_state_dict(saved["model"])
            optimiser.load_state_dict(saved["optimiser"])
            run.average, run.images, run.seconds = (
                saved[name] for name in ("average", "images", "seconds")
            )
        return run

    @property
    def checkpoint(self) -> Path:
        """Where the state lives."""
        return self.folder / "checkpoint.pt"

    def save(self, snapshot: bool = False) -> None:
        """Write the checkpoint in one step: an interruption leaves the old one or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "images": self.images,
            "seconds": self.seconds,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)
        if snapshot:
            weights = {name: value.contiguous() for name, value in self.average.items()}
            save_file(weights, self.folder / f"average-{self.images:09d}.safetensors")

    @torch.no_grad()
    def update_average(self, decay: float, steps: int) -> None:
        """Exponential moving average, shorter at the start of the run."""
        decay = min(decay, (1 + steps) / (10 + steps))
        weights = [p.detach() for p in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)


def learning_rate(peak: float, images: int, total: int, warmup: int, cooldown: int) -> float:
    """Linear warm-up, constant, then linear decay to zero over the last `cooldown` images."""
    rising = (images + 1) / warmup if warmup else 1.0
    falling = (total - images) / cooldown if cooldown else 1.0
    return peak * max(0.0, min(1.0, rising, falling))


def join_processes() -> tuple[int, int]:
    """Join the processes that torchrun started, if any: the own rank and their number."""
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@app.command()
def train(
    folder: Annotated[Path, typer.Option(help="the run's folder; resumed if it holds a run")],
    images: Annotated[int, typer.Option(help="training images to reach in all")] = 2_000_000,
    minutes: Annotated[float, typer.Option(help="stop after this long")] = math.inf,
    data: Path = fashion_mnist.DEFAULT_FOLDER,
    schedule: Annotated[str, typer.Option(help="cosine or linear")] = "cosine",
    dropout: float = 0.1,
    batch: Annotated[int, typer.Option(help="images a step, over all processes")] = 64,
    lr: float = 1e-3,
    warmup: Annotated[int, typer.Option(help="images of linear warm-up")] = 20_000,
    cooldown: Annotated[int, typer.Option(help="images of linear decay at the end")] = 0,
    ema: Annotated[float, typer.Option(help="decay of the weights' moving average")] = 0.999,
    save_every: Annotated[int, typer.Option(help="images between snapshots")] = 100_000,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Train, or go on training, until `images` images or `minutes` minutes."""
    rank, world = join_processes()
    options = {
        "schedule": schedule,
        "dropout": dropout,
        "batch": batch,
        "lr": lr,
        "ema": ema,
        "seed": seed,
    }
    place = torch.device(device)
    torch.manual_seed(seed)
    state = Run.open(folder, options, place)
    network: nn.Module = state.model.train()
    if world > 1:
        network = DistributedDataParallel(network)
    raw = fashion_mnist.load(data, "train")[0]
    dataset = torch.from_numpy(raw.copy()).to(place).float().div(127.5).sub(1)[:, None]
    diffusion = Diffusion(make_scheduler(schedule).betas, place)
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "options.json").write_text(json.dumps(options, indent=2) + "\n")

    begin = last = time.perf_counter()
    sums, counted = torch.zeros(2, device=place), 0
    while state.images < images:
        torch.manual_seed((seed * 10**10 + state.images) * world + rank)
        n = batch // world
        x0 = dataset[torch.randint(len(dataset), (n,)).to(place)]
        t, noise = stratified_timesteps(n).to(place), torch.randn(x0.shape).to(place)
        output = network(diffusion.diffuse(x0, t, noise), t, return_dict=False)[0]
        simple, bound = diffusion.loss(output, x0, t, noise)
        loss = (simple + bound * TIMESTEPS / 1000).mean()
        state.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(lr, state.images, images, warmup, cooldown)
        state.optimiser.step()
        state.update_average(ema, state.images // batch)
        state.images += n * world
        sums += torch.stack([simple.detach().mean(), bound.detach().mean()])
        counted += 1

        now = time.perf_counter()
        stop = torch.tensor([float(now - begin > 60 * minutes)])
        if counted == 200 or state.images >= images:
            if world > 1:
                dist.broadcast(stop, 0)
            state.seconds += now - last
            mse, vlb = (sums / counted).tolist()
            if rank == 0:
                print(
                    f"{state.images:9d} images  mse {mse:.4f}  "
                    f"vlb {TIMESTEPS * vlb:.3f} bits/dim  "
                    f"lr {group['lr']:.1e}  {counted * n * world / (now - last):.0f} images/s",
                    flush=True,
                )
            before = state.images - counted * n * world
            snapshot = before // save_every != state.images // save_every
            if rank == 0:
                state.save(snapshot=state.images >= images or snapshot)
            sums, counted, last = torch.zeros_like(sums), 0, now
            if stop.item():
                break
    if world > 1:
        dist.destroy_process_group()


@app.command()
def export(
    folder: Annotated[Path, typer.Option(help="the run's folder")],
    out: Annotated[Path, typer.Option(help="pipeline folder to write")],
    weights: Annotated[Path | None, typer.Option(help="a snapshot; else the last average")] = None,
) -> None:
    """Save a moving average of the weights as a diffusers pipeline folder."""
    options = json.loads((folder / "options.json").read_text())
    average = (
        load_file(weights)
        if weights
        else torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    )
    model = make_network(options["dropout"])
    model.load_state_dict(average)
    pipeline = DDPMPipeline(model.eval(), make_scheduler(options["schedule"]))
    pipeline.save_pretrained(out, safe_serialization=True)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner alone
    print(f"written to {out}")


if __name__ == "__main__":
    app()

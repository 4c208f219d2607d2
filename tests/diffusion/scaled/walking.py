"""The library's own loops, one for every scheduler, around a network that is a formula."""

import importlib
import inspect
import math
import sys
import types

import diffusers
import diffusers.schedulers
import torch

from lambda_search.diffusion.noise import normal

STEPS = 7
SHAPE = (3, 4, 4)
N = 2


class Path:
    """A stand-in for torchsde's Brownian path: the same draw whenever an interval is asked for."""

    def __init__(self, t0, t1, size, dtype, device, entropy, **options):
        self._size, self._dtype, self._seed = size, dtype, entropy % 2**31

    def __call__(self, t0, t1):
        generator = torch.Generator().manual_seed(self._seed + round(1e4 * float(t0)))
        drawn = torch.randn(self._size, generator=generator, dtype=self._dtype)
        return drawn * abs(float(t1 - t0)) ** 0.5


def scheduler_class(name):
    """The library's class, also of those that want torchsde where that is not installed."""
    found = getattr(diffusers, name, None) or getattr(diffusers.schedulers, name)
    if "torchsde" not in getattr(found, "_backends", ()):
        return found
    last = "cosine_dpmsolver_multistep" if name.startswith("Cosine") else "dpmsolver_sde"
    stand_in = types.ModuleType("torchsde")
    stand_in.BrownianInterval = Path
    sys.modules["torchsde"] = stand_in
    try:
        return getattr(importlib.import_module(f"diffusers.schedulers.scheduling_{last}"), name)
    finally:
        del sys.modules["torchsde"]


def network(x, t):
    """Something of the size of a trained network's output, for any t."""
    shift = math.sin(float(torch.as_tensor(t).flatten()[0]) / 150)
    return 1.1 * torch.tanh(1.3 * x + 0.3 * shift)


def learned(x, t):
    """The same with a learned variance behind it."""
    return torch.cat([network(x, t), torch.cos(2 * x)], dim=1)


def walk(scheduler, said, dtype=torch.float32):
    """The state after the last step.

    Arguments:
        scheduler: fresh.
        said: (number of the call, what the network is given, t, the state) → its output.
        dtype: of the states.
    """
    for name in (cls.__name__ for cls in type(scheduler).__mro__):
        if name in LOOPS:
            return LOOPS[name](scheduler, said, dtype)
    return _usual(scheduler, said, dtype)


def start(scheduler, dtype, shape=SHAPE):
    scale = getattr(scheduler, "init_noise_sigma", 1.0)
    return (normal(0, range(N), 0, shape) * scale).to(dtype)


def seeded():
    return torch.Generator().manual_seed(1)


def _usual(scheduler, said, dtype, times=None, **options):
    if times is None:
        scheduler.set_timesteps(STEPS)
        times = scheduler.timesteps
    x = start(scheduler, dtype)
    if "generator" in inspect.signature(scheduler.step).parameters:
        options = {"generator": seeded()} | options
    for k, t in enumerate(times):
        scaled = scheduler.scale_model_input(x, t) if _scales(scheduler) else x
        x = scheduler.step(said(k, scaled, t, x), t, x, **options)[0]
    return x


def _scales(scheduler):
    return hasattr(scheduler, "scale_model_input")


def _dynamic(scheduler, said, dtype):
    shifted = scheduler.config.use_dynamic_shifting
    scheduler.set_timesteps(STEPS, **({"mu": 0.7} if shifted else {}))
    return _usual(scheduler, said, dtype, scheduler.timesteps)


def _karras_ve(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    x, generator, k = start(scheduler, dtype), seeded(), 0
    for t in scheduler.timesteps:
        sigma, sigma_prev = scheduler.schedule[t], scheduler.schedule[t - 1] if t > 0 else 0
        x_hat, sigma_hat = scheduler.add_noise_to_input(x, sigma, generator)
        made = scheduler.step(said(k, x_hat, sigma_hat, x_hat), sigma_hat, sigma_prev, x_hat)
        x, k = made.prev_sample, k + 1
        if sigma_prev != 0:
            corrected = said(k, x, sigma_prev, x)
            x = scheduler.step_correct(
                corrected, sigma_hat, sigma_prev, x_hat, x, made.derivative
            ).prev_sample
            k += 1
    return x


def _score_vp(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    x, generator = start(scheduler, dtype), seeded()
    for k, t in enumerate(scheduler.timesteps):
        x, mean = scheduler.step_pred(said(k, x, t, x), x, t * torch.ones(N), generator)
    return mean


def _cogvideo_dpm(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    x, generator, old, back = start(scheduler, dtype), seeded(), None, None
    for k, t in enumerate(scheduler.timesteps):
        x, old = scheduler.step(said(k, x, t, x), old, t, back, x, generator=generator)
        back = t
    return x


def _repaint(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS, jump_length=2, jump_n_sample=2)
    x, generator, k = start(scheduler, dtype), seeded(), 0
    mask = torch.zeros(SHAPE).bernoulli(0.5, generator=seeded())
    before = [scheduler.timesteps[0] + 1, *scheduler.timesteps]
    for t, last in zip(scheduler.timesteps, before, strict=False):
        if t < last:
            original = torch.tanh(start(scheduler, dtype))
            x = scheduler.step(said(k, x, t, x), t, x, original, mask, generator).prev_sample
            k += 1
        else:
            x = scheduler.undo_step(x, last, generator)
    return x


def _unclip(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    x, generator = start(scheduler, dtype), seeded()
    below = [*scheduler.timesteps[1:], None]
    for k, (t, prev) in enumerate(zip(scheduler.timesteps, below, strict=True)):
        x = scheduler.step(said(k, x, t, x), t, x, prev, generator).prev_sample
    return x


def _cascade(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    return _usual(scheduler, said, dtype, [t.expand(N) for t in scheduler.timesteps[:-1]])


def _trigonometric(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS, intermediate_timesteps=None)
    return _usual(scheduler, said, dtype, scheduler.timesteps[:-1])


def _decoder(scheduler, said, dtype):
    scheduler.set_timesteps(2)
    return _usual(scheduler, said, dtype, scheduler.timesteps)


def _helios(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS, stage_index=0)
    return _usual(scheduler, said, dtype, scheduler.timesteps)


def _helios_dmd(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS, stage_index=0)
    x, times = start(scheduler, dtype, (3, 1, 4, 4)), scheduler.timesteps
    tables = {"dmd_sigmas": scheduler.sigmas, "dmd_timesteps": times, "all_timesteps": times}
    for k, t in enumerate(times):
        noise = torch.randn(x.shape, generator=seeded())
        options = {"cur_sampling_step": k, "dmd_noisy_tensor": noise} | tables
        x = scheduler.step(said(k, x, t, x), t, x, **options).prev_sample
    return x


def _protein(scheduler, said, dtype):
    scheduler.set_timesteps(STEPS)
    x, generators = start(scheduler, dtype, (5, 3)), [seeded() for _ in range(N)]
    for k, t in enumerate(scheduler.timesteps):
        mask = torch.ones(N, 5)
        x = scheduler.step(said(k, x, t, x), t, x, mask, generators).prev_sample
    return x


LOOPS = {
    "CogVideoXDPMScheduler": _cogvideo_dpm,
    "ConsistencyDecoderScheduler": _decoder,
    "DDPMWuerstchenScheduler": _cascade,
    "FlowMatchEulerDiscreteScheduler": _dynamic,
    "HeliosDMDScheduler": _helios_dmd,
    "HeliosScheduler": _helios,
    "KarrasVeScheduler": _karras_ve,
    "RFD4ProteinaScheduler": _protein,
    "RePaintScheduler": _repaint,
    "SCMScheduler": _trigonometric,
    "ScoreSdeVpScheduler": _score_vp,
    "UnCLIPScheduler": _unclip,
}

"""A network whose ε is divided by hand, in double precision: what a scaled scheduler must equal.

α and σ of every call come from the scheduler's tables by the rules written out here, one for each
kind of tables; nothing is shared with the package.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Level:
    """Where a network is called: x = α·x0 + σ·ε; `between` marks points that are no level."""

    alpha: float
    sigma: float
    between: bool = False

    @property
    def ratio(self):
        return self.sigma / self.alpha if self.alpha > 0 else math.inf


def indices(levels):
    """Of every call: the rank of its level, or what lies between two, in log σ/α."""
    ladder = sorted({level.ratio for level in levels if not level.between})
    found = []
    for level in levels:
        if level.between:
            logs = np.log([value for value in ladder if value < math.inf])
            found.append(float(np.interp(math.log(level.ratio), logs, range(len(logs)))))
        else:
            found.append(ladder.index(level.ratio))
    return found, len(ladder)


# -- levels, in the order of the calls


def of_table(scheduler):
    table = scheduler.alphas_cumprod.double().tolist()
    return [Level(table[t] ** 0.5, (1 - table[t]) ** 0.5) for t in scheduler.timesteps.tolist()]


def of_pndm(scheduler):
    steps = set(np.asarray(scheduler._timesteps).astype(int).tolist())
    return [
        Level(level.alpha, level.sigma, between=t not in steps)
        for level, t in zip(of_table(scheduler), scheduler.timesteps.tolist(), strict=True)
    ]


def of_repaint(scheduler):
    """Only on the way down is the network called."""
    times = scheduler.timesteps.tolist()
    down = [t for t, last in zip(times, [times[0] + 1, *times], strict=False) if t < last]
    table = scheduler.alphas_cumprod.double().tolist()
    return [Level(table[t] ** 0.5, (1 - table[t]) ** 0.5) for t in down]


def below_in_table(scheduler):
    """DDIM backwards: the network is told t, and the state is that of the timestep below."""
    stride = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    table = scheduler.alphas_cumprod.double().tolist()
    start = float(scheduler.initial_alpha_cumprod)
    bars = [table[t - stride] if t >= stride else start for t in scheduler.timesteps.tolist()]
    return [Level(bar**0.5, (1 - bar) ** 0.5) for bar in bars]


def churned(scheduler):
    """Karras' VE: σ raised by churn, where that is on, and then the next σ."""
    config, found = scheduler.config, []
    gamma = min(config.s_churn / scheduler.num_inference_steps, 2**0.5 - 1)
    levels = scheduler.schedule.tolist()[::-1]
    for sigma, after in zip(levels, [*levels[1:], None], strict=True):
        raised = config.s_min <= sigma <= config.s_max
        found.append(Level(1.0, sigma * (1 + gamma * raised), between=raised))
        found += [] if after is None else [Level(1.0, after)]
    return found


def exploding(scheduler):
    return [Level(1.0, sigma) for sigma in _sigmas(scheduler)]


def preserving(scheduler):
    return [Level((1 + s * s) ** -0.5, s * (1 + s * s) ** -0.5) for s in _sigmas(scheduler)]


def flow(scheduler):
    return [Level(1 - sigma, sigma) for sigma in _sigmas(scheduler)]


def inverted_flow(scheduler):
    return [Level(sigma, 1 - sigma) for sigma in _sigmas(scheduler)]


def preserving_or_flow(scheduler):
    return flow(scheduler) if scheduler.config.use_flow_sigmas else preserving(scheduler)


def halfway(scheduler):
    """σ₀, then a point between and the next σ, and so on: geometric means."""
    whole = sorted({s for s in scheduler.sigmas.tolist() if s > 0}, reverse=True)
    found = [Level(1.0, whole[0])]
    for above, below in itertools.pairwise(whole):
        middle = (above * below) ** 0.5
        found += [Level(1.0, middle, between=True), Level(1.0, below)]
    return found


def ancestral_halfway(scheduler):
    """The geometric mean of σ and σ_down = σ'²/σ is σ' itself."""
    whole = sorted({s for s in scheduler.sigmas.tolist() if s > 0}, reverse=True)
    return [Level(1.0, whole[0])] + [Level(1.0, s) for s in whole[1:] for _ in range(2)]


def clean_time(scheduler):
    return [Level(t, 1 - t) for t in scheduler.timesteps.tolist()]


def cascade(scheduler):
    s = scheduler.config.s

    def alpha_bar(t):
        found = math.cos((t + s) / (1 + s) * math.pi / 2) ** 2
        return min(max(found / math.cos(s / (1 + s) * math.pi / 2) ** 2, 1e-4), 0.9999)

    bars = [alpha_bar(t) for t in scheduler.timesteps[:-1].tolist()]
    return [Level(bar**0.5, (1 - bar) ** 0.5) for bar in bars]


def angles(scheduler):
    return [Level(math.cos(a), math.sin(a)) for a in scheduler.timesteps[:-1].tolist()]


def sines(scheduler):
    """IPNDM: σ = sin²(π/2·u), α = √(1 − σ²)."""
    count = scheduler.num_inference_steps
    sigmas = [math.sin(math.pi / 2 * (1 - k / count)) ** 2 for k in range(count)]
    return [Level(max(1 - s * s, 0) ** 0.5, s) for s in sigmas]


def decoder(scheduler):
    tables = scheduler.sqrt_alphas_cumprod, scheduler.sqrt_one_minus_alphas_cumprod
    return [Level(*(float(table[t]) for table in tables)) for t in scheduler.timesteps]


def continuous(scheduler):
    low, high = scheduler.config.beta_min, scheduler.config.beta_max
    bars = [math.exp(-low * t - (high - low) * t * t / 2) for t in scheduler.timesteps.tolist()]
    return [Level(bar**0.5, (1 - bar) ** 0.5) for bar in bars]


def _sigmas(scheduler):
    """σ at every timestep: repeated as the list itself repeats them."""
    return scheduler.sigmas.double().tolist()[: len(scheduler.timesteps)]


# -- the division


def divided(kind, said, x, level, value, config=None):
    """What a network of that kind would have said with its ε divided by `value`.

    Every kind is taken to (x0, ε), ε is divided with x held, and the pair is taken back.
    """
    if value == 1 or level.alpha <= 1e-5:
        return said
    alpha, sigma, dtype = level.alpha, level.sigma, said.dtype
    said, x = said.double(), x.double()
    if kind == "v exploding":  # the network is given x/√(1 + σ²), and speaks of that
        scale = (1 + sigma * sigma) ** -0.5
        preserved = Level(scale, sigma * scale)
        return divided("v", said, x * scale, preserved, value).to(dtype)
    match kind:
        case "epsilon":
            epsilon = said
        case "minus epsilon":
            epsilon = -said
        case "sample":
            epsilon = (x - alpha * said) / sigma
        case "v":
            epsilon = alpha * said + sigma * x
        case "v of a flow":  # read as x0 = αx − σF, though α² + σ² < 1
            epsilon = (x - alpha * (alpha * x - sigma * said)) / sigma
        case "flow on a list":  # x0 = x − (σ/α)·F
            epsilon = (x - alpha * (x - level.ratio * said)) / sigma
        case "flow":
            epsilon = x + alpha * said
        case "flow to the image":
            epsilon = x - alpha * said
        case "edm" | "edm v" | "consistency" | "decoder":
            skip, out = edm_factors(kind, level, config)
            epsilon = (x - alpha * (skip * x + out * said)) / sigma
    epsilon = epsilon / value
    x0 = (x - sigma * epsilon) / alpha
    match kind:
        case "epsilon":
            found = epsilon
        case "minus epsilon":
            found = -epsilon
        case "sample":
            found = x0
        case "v":
            found = alpha * epsilon - sigma * x0
        case "v of a flow":
            found = (alpha * x - x0) / sigma
        case "flow on a list":
            found = (x - x0) / level.ratio
        case "flow":
            found = epsilon - x0
        case "flow to the image":
            found = x0 - epsilon
        case _:
            found = (x0 - skip * x) / out if out else said
    return found.to(dtype)


def edm_factors(kind, level, config):
    """Those of arXiv:2206.00364, table 1, and of arXiv:2303.01469, equation 25."""
    data = 0.5 if kind == "decoder" else config.sigma_data
    sigma = level.ratio
    if kind == "consistency":
        above = sigma - config.sigma_min
        return data**2 / (above**2 + data**2), data * above / (sigma**2 + data**2) ** 0.5
    out = sigma * data / (sigma**2 + data**2) ** 0.5
    skip = data**2 / (sigma**2 + data**2) / level.alpha
    return skip, -out if kind == "edm v" else out

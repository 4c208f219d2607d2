r"""Exposure bias in numbers: norms of the predicted ε in sampling and at true noised images.

    r_i = mean ‖ε(x_i)‖ over sampled states / mean ‖ε(α_i·x0 + σ_i·n)‖ over clean images x0

(Ning et al. 2024, arXiv:2308.15321, §4; frameworks' scripts take labels that have nothing to do
with x0, here they are its own). ‖·‖ is over all of a state, ε the network's, guidance included and
not divided by λ. The true noise n of sample j is that of its own start, so that at the noisiest
steps both norms are of nearly the same state and r_i is known well from few images. Of several
calls at one level, as Heun's method makes them, the last one counts: the state that a step really
starts from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lambda_search.diffusion.samplers import Step
from lambda_search.models.base import Model
from lambda_search.models.running import sent
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Sampling

__all__ = ["NormsSeen", "sampled", "true_norms"]


class NormsSeen:
    """An observer that keeps ‖ε‖ of one batch at every step."""

    def __init__(self) -> None:
        self._by_step: dict[int, Tensor] = {}

    def __call__(self, step: Step) -> None:
        self._by_step[step.level.index] = _norms(step.prediction.epsilon)

    def table(self) -> Tensor:
        """float64 [T′, n], least noisy step first."""
        return torch.stack([self._by_step[index] for index in sorted(self._by_step)])


def sampled(
    model: Model,
    sampling: Sampling,
    schedule: LambdaSchedule,
    seed: int,
    indices: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Final states [n, c, h, w] of samples `indices`, and ‖ε‖ on their way, float64 [T′, n].

    Arguments:
        model: which network.
        sampling: resolved.
        schedule: λ(i).
        seed: of the noise.
        indices: a whole batch, or several.
    """
    states, norms, batch = [], [], sampling.options.batch
    for start in range(0, len(indices), batch):
        part, seen = indices[start : start + batch], NormsSeen()
        draw, labels = counter_noise(model, seed, part), default_labels(model, part)
        states.append(sample_batch(model, sampling, schedule, draw, labels, observe=seen))
        norms.append(seen.table())
    return torch.cat(states), torch.cat(norms, dim=1)


@torch.inference_mode()
def true_norms(
    model: Model,
    sampling: Sampling,
    clean: Tensor,
    labels: Tensor | None,
    seed: int,
    indices: Sequence[int],
) -> Tensor:
    """‖ε‖ at the levels of the grid, float64 [T′, n], on clean states with true noise.

    Arguments:
        model: which network.
        sampling: resolved.
        clean: x0, [n, c, h, w].
        labels: their own, [n], of a conditional model.
        seed, indices: of the noise, an index for each of `clean`.
    """
    grid, batch, found = model.grid(sampling), sampling.options.batch, []
    for start in range(0, len(clean), batch):
        part = slice(start, start + batch)
        x0 = sent(clean[part], model.device, model.dtype)
        noise = sent(model.noise(seed, indices[part]), model.device, model.dtype)
        told = None if labels is None else sent(labels[part], model.device, labels.dtype)
        rows = []
        for i in range(len(grid)):
            level = grid.level(i)
            x = level.alpha * x0 + level.sigma * noise
            with model.running(sampling.options):
                rows.append(_norms(model.predict(x, level, told, sampling).epsilon))
        found.append(torch.stack(rows))
    return torch.cat(found, dim=1)


def _norms(epsilon: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(epsilon.double().flatten(1), dim=1).cpu()
    return found

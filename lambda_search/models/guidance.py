"""Guidance: how conditions pull on a network's prediction.

Without a classifier (Ho & Salimans 2022, arXiv:2207.12598): u + s(c − u), u the prediction without
a condition and c the one with it. With one (Dhariwal & Nichol 2021, arXiv:2105.05233): its score
∇ log p(y|x), whose place in a step is the sampler's matter (`diffusion/samplers`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["class_score", "guided"]


def guided(
    network: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    null_label: int | None,
    scale: float | None,
    channels: int | None = None,
) -> Tensor:
    """What `network` says of states `x`, both predictions in one pass.

    Arguments:
        network: (states [m, c, h, w], labels [m]) → outputs [m, …].
        x: states [n, c, h, w].
        labels: conditions [n].
        null_label: the label of no condition; needed where there is a scale.
        scale: s; None is the conditional prediction alone.
        channels: how many of the output's first channels are guided; None: all. The others are
            the conditional prediction's.
    """
    if scale is None:
        return network(x, labels)
    assert null_label is not None
    both = torch.cat([torch.full_like(labels, null_label), labels])
    without, given = network(torch.cat([x, x]), both).chunk(2)
    pulled = without[:, :channels] + scale * (given[:, :channels] - without[:, :channels])
    return pulled if channels is None else torch.cat([pulled, given[:, channels:]], dim=1)


def class_score(
    classifier: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor, labels: Tensor
) -> Tensor:
    """∇ log p(y|x) of noisy images `x` [n, c, h, w] and labels y [n], of x's shape.

    Copies them: autograd does not take the tensors of inference mode.

    Arguments:
        classifier: (images, times [n]) → logits [n, classes].
        x, times, labels: of the images.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x, times, labels = x.clone().requires_grad_(), times.clone(), labels.clone()
        log_likelihoods = classifier(x, times).log_softmax(dim=1)
        chosen = log_likelihoods.gather(1, labels[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), x)
    return gradient

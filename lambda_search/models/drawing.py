"""Noise for the next step is drawn while the GPU computes this one."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from lambda_search.models.running import sent

__all__ = ["drawn"]


@contextmanager
def drawn(
    draw: Callable[[int], Tensor], last: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Callable[[int], Tensor]]:
    """The draws of `draw`, on `device`; for a GPU, by a thread that is one step ahead.

    Arguments:
        draw: j → noise on the CPU, j ≥ 1 the j-th step's.
        last: the last j that is asked for.
        device, dtype: of the state.
    """
    if device.type != "cuda":
        yield lambda j: sent(draw(j), device, dtype)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="noise") as thread:
        coming: dict[int, Future[Tensor]] = {}

        def pinned(j: int) -> Tensor:
            noise = draw(j)
            return noise.pin_memory() if noise.device.type == "cpu" else noise

        def here(j: int) -> Tensor:
            if j not in coming:
                coming[j] = thread.submit(pinned, j)
            if 0 < j < last:  # who asks for one step's asks for the next one's, as a rule
                coming[j + 1] = thread.submit(pinned, j + 1)
            return coming.pop(j).result().to(device, non_blocking=True).to(dtype)

        yield here

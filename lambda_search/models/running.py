"""How a network runs on a GPU: its arithmetic, and kernels that are recorded once and replayed.

A recording (a CUDA graph) holds the very kernels of the call that it was made of, so its results
have the same bits; it saves launching hundreds of them one by one, for which a fast GPU would
wait. What changes bits, precision and compilation, is part of a setting.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any
from typing import TypeAlias
from typing import cast

import torch
from torch import Tensor
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable

__all__ = ["Replayed", "running", "sent", "unrecorded"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_COMPILED: ContextVar[bool] = ContextVar("compiled", default=False)
_RECORDED: ContextVar[bool] = ContextVar("recorded", default=True)
_MOST = 4
"""Recordings that a network keeps, each with its own intermediate maps."""

_SHAPES = 1 << 16
"""Shapes and ways of running that a class of networks may be compiled for in a process."""

_Call: TypeAlias = Callable[..., Tensor]


@contextmanager
def running(device: torch.device, precision: str, compiled: bool = False) -> Iterator[None]:
    """Networks on `device` called inside run so.

    Arguments:
        device: where they are.
        precision: fp32 (IEEE float32), tf32 (products of 10-bit mantissas, on a GPU), bf16, fp16.
        compiled: whether their kernels are made by torch.compile.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(_products_in_tf32(precision == "tf32"))
        if precision in _DTYPES:
            stack.enter_context(torch.autocast(device.type, dtype=_DTYPES[precision]))
        before = _COMPILED.set(compiled)
        try:
            yield
        finally:
            _COMPILED.reset(before)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Every call inside is an ordinary one, of which hooks hear."""
    before = _RECORDED.set(False)
    try:
        yield
    finally:
        _RECORDED.reset(before)


@contextmanager
def _products_in_tf32(allowed: bool) -> Iterator[None]:
    """On a GPU; what the process is set to otherwise, and autotuning, would decide bits."""
    try:
        before, _ = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError as error:  # torch does not tell, once both are set
        raise UsageError(
            "This process sets TF32 by torch's fp32_precision.",
            "Leave that out: the option precision decides it.",
        ) from error
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=allowed
    ):
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def sent(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`x` on `device`; to a GPU from page-locked memory, so that nobody waits for it."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True).to(dtype)
    return x.to(device, dtype)


class Replayed(nn.Module):
    """A network for sampling, on `device`; on a GPU its calls are recorded and replayed.

    Of each shape and way of running, the first call is an ordinary one, and the second is
    recorded.

    Arguments:
        network: takes tensors (or None) alone and returns one.
        device: where it computes.
        records: false leaves every call an ordinary one.
    """

    def __init__(self, network: nn.Module, device: torch.device, records: bool = True) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._known = _Known(records and device.type == "cuda")

    def forward(self, *told: Tensor | None) -> Tensor:
        """What the network says; the tensor is the caller's own."""
        call: _Call = self.network
        if _COMPILED.get():
            if self._known.compiled is None:
                self._known.compiled = _compiled(self.network)
            call = self._known.compiled
        if not (self._known.records and _RECORDED.get()):
            return call(*told)
        key = (
            _COMPILED.get(),
            torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda"),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            *(None if one is None else (one.shape, one.stride(), one.dtype) for one in told),
        )
        found = self._known.recordings.pop(key, None)
        if key not in self._known.seen:
            self._known.seen.add(key)
            return call(*told)
        if found is None:
            while len(self._known.recordings) >= _MOST:
                self._known.recordings.pop(next(iter(self._known.recordings)))
            try:
                found = _Recording(call, told, self._device)
            except (
                torch.OutOfMemoryError
            ):  # recordings keep their maps; without them there is room
                self._known.recordings.clear()
                torch.cuda.empty_cache()
                return call(*told)
            except RuntimeError:  # a network that asks the CPU something cannot be recorded
                self._known.records = False
                self._known.recordings.clear()
                return call(*told)
        self._known.recordings[key] = found
        return found(told)


class _Known:
    """What a network has been called with; without `__dict__`, since it is no part of a model."""

    __slots__ = ("compiled", "recordings", "records", "seen")

    def __init__(self, records: bool) -> None:
        self.records = records
        self.compiled: _Call | None = None
        self.seen: set[object] = set()
        self.recordings: dict[object, _Recording] = {}


class _Recording:
    """A recorded call: arguments are copied to where it reads them, by one thread at a time."""

    __slots__ = ("_device", "_graph", "_lock", "_reads", "_says")

    def __init__(self, call: _Call, told: tuple[Tensor | None, ...], device: torch.device) -> None:
        self._device, self._lock = device, Lock()
        with torch.inference_mode(False):  # or nobody could write to them outside of it
            self._reads = [None if one is None else one.clone() for one in told]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            before, own = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            try:
                with torch.cuda.graph(self._graph, stream=own, capture_error_mode="thread_local"):
                    self._says = call(*self._reads)
            finally:
                torch.cuda.set_stream(before)  # one that broke off leaves its own

    def __call__(self, told: tuple[Tensor | None, ...]) -> Tensor:
        with self._lock, torch.cuda.device(self._device):
            for place, one in zip(self._reads, told, strict=True):
                if place is not None and one is not None:
                    place.copy_(one)
            self._graph.replay()
            return self._says.clone()


def _compiled(network: nn.Module) -> _Call:
    """`network` with kernels chosen by rule, not by what was fastest once: that decides bits.

    Raises, when it is called:
        UsageError: if they cannot be made here.
    """
    wanted: dict[str, Any] = {"deterministic": True}
    options = {name: wanted[name] for name in wanted if name in torch._inductor.list_options()}
    limits = torch._dynamo.config  # beyond them it would run uncompiled, with other bits
    limits.recompile_limit = limits.accumulated_recompile_limit = _SHAPES
    limits.fail_on_recompile_limit_hit = True
    made = cast(_Call, torch.compile(network, dynamic=False, options=options))

    def call(*told: Tensor | None) -> Tensor:
        try:
            return made(*told)
        except (
            torch._dynamo.exc.TorchDynamoException,
            torch._dynamo.exc.FailOnRecompileLimitHit,
        ) as error:
            raise UsageError(
                f"The network cannot be compiled here: {printable(first_line(error))}.",
                "Install a C compiler and Triton, or leave kernels out.",
            ) from error

    return call

"""The model of a study file, and where its weights are to be had if they are not here."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import TypeVar

from lambda_search.errors import MissingFile
from lambda_search.models.base import Model
from lambda_search.models.registry import load_model
from lambda_search.paths import locate
from lambda_search.spec import ModelSpec
from lambda_search.spec import StudySpec

__all__ = ["MissingWeights", "model_of", "with_models"]

M = TypeVar("M")


class MissingWeights(MissingFile):
    """A model's weights are not on this machine; the hint says where its authors publish them."""


def model_of(spec: ModelSpec, device: str = "cpu") -> Model:
    """The model of a study file, on `device`.

    Raises:
        MissingWeights: if its checkpoint is not here.
        UsageError: for all else that `load_model` refuses.
    """
    try:
        return load_model(spec.framework, spec.checkpoint, spec.config, device)
    except MissingFile as error:
        here = locate(spec.checkpoint) is not None  # then it is the classifier or the decoder
        cause = error.cause if here else f"The weights {spec.checkpoint} are not on this machine."
        raise MissingWeights(cause, _advice(spec) or error.hint) from error


def with_models(
    specs: Iterable[StudySpec], read: Callable[[ModelSpec], M]
) -> Iterator[tuple[StudySpec, M]]:
    """Studies with what `read` makes of their models, once for several in a row that share one."""
    known: tuple[ModelSpec, M] | None = None
    for spec in specs:
        named = spec.model.model_copy(update={"name": None, "dataset": None})
        if known is None or known[0] != named:
            known = named, read(named)
        yield spec, known[1]


def _advice(spec: ModelSpec) -> str:
    """Where to get the weights, as far as the study file says it."""
    if spec.source is None:
        return ""
    source = spec.source
    note = f"; {source.note}" if source.note else ""
    return f"Their authors publish them at {source.url}, licence {source.licence}{note}."

"""Feature extractors: images in, features out, each with a fingerprint.

A study names one of these:

    inception-clean, inception-legacy   the FID of clean-fid, and of EDM and ADM
    clip-vit-b32, dinov2                CLIP-FID, FD-DINOv2
    bundled                             the bundled model's
    model, model:BLOCK@LEVEL            the study's own network (see `own_network`)
    NAME:PATH                           one of them with weights that lie at PATH
    PATH                                a TorchScript file, or a folder with a transformers model

A PATH may be an address, such as s3://BUCKET/FILE: each host fetches it once.

One registers with an entry point in the group `lambda_search.extractors`: a function of the device
and of `Weights`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import torch

from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.fetching import obtained
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.base import Factory
from lambda_search.metrics.extractors.base import Known
from lambda_search.metrics.extractors.base import Weights
from lambda_search.models.base import Model
from lambda_search.paths import is_address
from lambda_search.paths import locate
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import own_network
from lambda_search.spec import EXTRACTOR_FILES

__all__ = [
    "GROUP",
    "extractors",
    "known_extractor",
    "load_extractor",
]

GROUP = "lambda_search.extractors"


def extractors() -> tuple[str, ...]:
    """The names of all registered extractors, and that of a study's own network."""
    return tuple(sorted({*entry_points(group=GROUP).names, OWN_NETWORK}))


def load_extractor(
    name: str,
    device: torch.device,
    fetch: bool = True,
    run: bool = True,
    model: Model | None = None,
) -> Extractor:
    """An extractor on `device`.

    Arguments:
        name: as above; paths are relative to the working folder.
        device: where it computes.
        fetch: whether published weights may be fetched.
        run: whether a file that is a program may be run; if not, what it would make is only
            described (see `base.Described`).
        model: of the study that names it, which its own network needs.

    Raises:
        MissingFile: if its weights are not on this machine, and cannot or may not be fetched.
        UsageError: if there is no such extractor, or its weights are not what they should be.
    """
    if own_network(name) is not None:
        return _of_model(name, model)
    registered = {entry.name: entry for entry in entry_points(group=GROUP)}
    base, colon, place = name.partition(":")
    if base in registered:
        factory = cast(Factory, registered[base].load())
        return factory(device, Weights(_found(place, name, fetch) if colon else None, fetch, run))
    if "/" not in name and not name.endswith(EXTRACTOR_FILES):
        raise UsageError(
            f"There is no extractor '{name}'.",
            f"Known: {', '.join(extractors())}; your own file or folder is ./{name}.",
        )
    return _own(_found(name, name, fetch), device, run)


def known_extractor(name: str) -> Known:
    """What the name of an extractor tells whose weights are not on this machine."""
    from lambda_search.metrics.extractors import inception
    from lambda_search.metrics.extractors import transformers

    base, colon, _ = name.partition(":")
    if base in (inception.CLEAN, inception.LEGACY):  # one network, whatever its weights
        found = inception.published(base)
        return replace(found, fingerprint="") if colon else found
    if colon:
        return Known(base)
    return transformers.PUBLISHED.get(name) or Known(Path(name).name)


def _found(place: str, name: str, fetch: bool) -> Path:
    path = (obtained(place) if fetch else locate(place)) if place else None
    if path is None and is_address(place) and not fetch:
        raise NotFetched(f"The extractor {name} is not on this machine.", "A launch fetches it.")
    if path is None:
        raise MissingFile(
            f"There is no extractor at {name}.",
            "Check the path; relative paths start at the study file's folder.",
        )
    return path


def _of_model(name: str, model: Model | None) -> Extractor:
    if model is None:
        raise UsageError(
            f"The extractor {name} is a model's own network, and there is no model here.",
            "Name it in a study file; what its reference names is measured when that is launched.",
        )
    from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor

    return OwnNetworkExtractor(name, model)


def _own(path: Path, device: torch.device, run: bool) -> Extractor:
    """The user's own: a transformers folder or a TorchScript file."""
    if path.is_dir():
        from lambda_search.metrics.extractors.transformers import from_folder

        return from_folder(path, device)
    from lambda_search.metrics.extractors.torchscript import from_file

    return from_file(path, device, run)

"""With what samples are measured: an extractor and the real images, as far as they are told."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lambda_search.errors import MissingFile
from lambda_search.metrics.extractors.registry import extractors
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.load import CLEAN_FID
from lambda_search.metrics.references.load import IMAGES
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.paths import BUNDLED
from lambda_search.paths import locate
from lambda_search.setting import OWN
from lambda_search.setting import own_network
from lambda_search.spec.blanks import BLANK

__all__ = ["MetricChoice", "chosen_metric", "real_images"]

_FIELD, _LEGACY, _OURS = "inception-clean", "inception-legacy", "bundled"


@dataclass(frozen=True)
class MetricChoice:
    """With what samples are measured.

    Arguments:
        extractor, reference: as a study file names them; the reference may be a blank.
        why: of each, in a sentence.
        width: d, or None where the extractor is not here to tell.
    """

    extractor: str
    reference: str
    why: tuple[str, str]
    width: int | None


def real_images(name: str) -> str:
    """The reference that `name` means: a folder or an archive on its own are images.

    Raises:
        MissingFile: if it should lie here and does not.
    """
    if name.startswith((CLEAN_FID, BUNDLED, OWN)):
        return name
    path = locate(name.removeprefix(IMAGES)) if name != IMAGES else None
    if path is None:
        raise MissingFile(
            f"There is no reference at {name}.",
            "Name a folder of real images, a .zip, an .npz, or clean-fid:DATASET/SPLIT/RES; "
            f"without any, {OWN}STEPS.",
        )
    images = path.is_dir() or path.suffix == ".zip"
    return f"{IMAGES}{name}" if images and not name.startswith(IMAGES) else name


def chosen_metric(extractor: str | None, reference: str | None, checkpoint: str) -> MetricChoice:
    """An extractor for what is known of the reference, and the reverse.

    Arguments:
        extractor: what was asked for, if it was.
        reference: as `real_images` returns it; None: not known.
        checkpoint: of the model; one that ships has its own reference.

    Raises:
        UsageError: for an extractor that there is not, or that cannot be read; and for a reference
            that cannot be.
    """
    why = (
        "As asked."
        if reference
        else f"Only you know which images are real; without any, {OWN}STEPS is agreement with the "
        "model's own samples of STEPS steps."
    )
    if reference is None and checkpoint.startswith(BUNDLED) and extractor in (None, _OURS):
        reference, why = checkpoint, "What the model was trained on."
    if reference is not None and reference.startswith(OWN):
        why = "As asked: agreement with the model's own samples of so many steps, not quality."
    chosen, because = (
        _extractor(reference, checkpoint) if extractor is None else (extractor, "As asked.")
    )
    if own_network(chosen) is not None:  # the model tells it
        return MetricChoice(chosen, reference or BLANK, (because, why), None)
    try:
        width = load_extractor(chosen, torch.device("cpu"), fetch=False).dim
    except MissingFile:
        if chosen not in extractors():  # nobody publishes it
            raise
        width = None
    return MetricChoice(chosen, reference or BLANK, (because, why), width)


def _extractor(reference: str | None, checkpoint: str) -> tuple[str, str]:
    """What suits a reference, and why."""
    if reference is not None and reference.startswith(OWN) and checkpoint.startswith(BUNDLED):
        return _OURS, "What was made with the model."
    if reference is not None and reference.startswith(BUNDLED):
        return _OURS, "What made this reference."
    path = None if reference is None else locate(reference)
    if path is None or not path.is_file() or path.suffix != ".npz":
        return _FIELD, "The field's usual FID."
    made_by = read_statistics(path).extractor_name
    if made_by in extractors():
        return made_by, "What made this reference."
    return _LEGACY, "What makes the references of EDM and ADM; this one does not say it."

"""Statistics of reference images in `.npz` files: ours, EDM's, the ADM evaluator's, clean-fid's.

All have `mu` [d] and `sigma` [d, d]. Ours say which extractor made them, how many images there
were, and keep some of their features for KID; ADM's also hold images (`arr_0`), which are not
read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import saving
from lambda_search.files import written_whole
from lambda_search.metrics.extractors.base import Described
from lambda_search.metrics.extractors.registry import extractors
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.references.archives import read_array
from lambda_search.metrics.references.archives import read_header
from lambda_search.metrics.references.archives import unzipped
from lambda_search.metrics.references.decoding import Shape
from lambda_search.models.file_kinds import Unsuitable
from lambda_search.shell import command

__all__ = [
    "CLEAN_FID_WORDS",
    "LEGACY",
    "Statistics",
    "check_origin",
    "check_width",
    "mark",
    "read_statistics",
    "write_statistics",
]

LEGACY = "legacy_tensorflow"
"""clean-fid's word for what EDM's and ADM's evaluators do."""

CLEAN_FID_WORDS = ("clean_clip_vit_b_32", "legacy_tensorflow", "legacy_pytorch", "clean")
"""What clean-fid calls extractors in the names of its files."""

_INCEPTION_WIDTH = 2048
_SCHEME = b"lambda_search: moments, 1\n"
_ROOM, _TIMES = 2**25, 16
"""An array of moments may unfold to so many bytes, and so many times its file's size."""
_SLACK = 1e-6
"""How far below 0 a covariance's eigenvalue may lie for rounding, as a share of its trace; and its
square, as a share of the mean's, of which little is left where all images are alike."""
_SHOWN = 9
_NEEDED = "It must be an .npz file with mu [d] and sigma [d, d]; name images as images:PATH."
_AGAIN = "Use the extractor that made it, or make a reference with this one."


@dataclass(frozen=True)
class Statistics:
    """Moments of reference images under one extractor.

    Arguments:
        mean: μᵣ, float64 [d].
        cov: Σᵣ, float64 [d, d].
        count: number of images, or None where the file does not say it.
        features: of some of them, float32 [m, d], for KID; or None.
        extractor: fingerprint of the extractor, or None where the file does not say it.
        extractor_name: its name, for people.
        source: what the images were, for people.
        shape: (h, w, c) of the images, h = w = 0 where their sizes differ; None where the file
            does not say it.
    """

    mean: NDArray[np.float64]
    cov: NDArray[np.float64]
    count: int | None = None
    features: NDArray[np.float32] | None = None
    extractor: str | None = None
    extractor_name: str = ""
    source: str = ""
    shape: Shape | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over μᵣ and Σᵣ, hexadecimal: whatever the file is called and says besides."""
        return hashlib.sha256(_SCHEME + self.mean.tobytes() + self.cov.tobytes()).hexdigest()

    @property
    def missing_rank(self) -> int | None:
        """The rank of Σᵣ where it is below the number of features that vary at all, else None.

        n different images give n − 1 at most. Eigenvalues count from 10⁻¹⁰ of Σᵣ's norm on, or
        10⁻⁷ where it has no more than float32's digits.
        """
        cov = torch.from_numpy(self.cov)
        single = bool((self.cov == self.cov.astype(np.float32)).all())
        least = (1e-7 if single else 1e-10) * torch.linalg.matrix_norm(cov)
        varies = cov.diagonal() > least
        cov = cov[varies][:, varies]
        lowered = cov - least * torch.eye(len(cov), dtype=torch.float64)
        if len(cov) and not torch.linalg.cholesky_ex(lowered).info:  # quicker than eigenvalues
            return None
        rank = int((torch.linalg.eigvalsh(cov) > least).sum())
        return rank if rank < max(len(cov), 1) else None


def read_statistics(path: Path) -> Statistics:
    """The statistics in `path`, from whomever.

    Raises:
        UsageError: if it cannot be read, holds no moments, or what it holds makes no Gaussian.
    """
    try:
        with unzipped(path, "an archive of moments", _NEEDED) as archive:
            found = _held(archive, _ROOM + _TIMES * path.stat().st_size)
        _check_gaussian(found.mean, found.cov)
    except Unsuitable as error:
        raise UsageError(f"The reference {path} {error.what}.", error.step) from error
    except Exception as error:  # numpy and zipfile raise many kinds on a broken file
        said = error.cause if isinstance(error, LambdaSearchError) else first_line(error)
        raise UsageError(
            f"The reference {path} cannot be read: {said.rstrip('.')}.",
            _NEEDED,
        ) from error
    kept = found.features
    if kept is not None and not (
        kept.ndim == 2 and kept.shape[1] == len(found.mean) and np.isfinite(kept).all()
    ):
        raise UsageError(
            f"The features that the reference {path} keeps are {list(kept.shape)}, or hold NaN; "
            f"[m, {len(found.mean)}] is needed.",
            "Make the reference again.",
        )
    return found


def _held(archive: ZipFile, most: int) -> Statistics:
    """What an archive holds, of arrays of at most `most` bytes."""
    held = {name.removesuffix(".npy") for name in archive.namelist()}
    if missing := {"mu", "sigma"} - held:
        shown = ", ".join(sorted(held)[:_SHOWN]) or "nothing"
        raise ValueError(f"it holds {shown}, and no {' or '.join(sorted(missing))}")

    def numbers(name: str, kind: type[np.floating[Any]]) -> NDArray[Any]:
        return np.array(read_array(archive, name, "iuf", most), kind)  # writable, for torch

    def single(name: str, letters: str) -> Any:
        return read_array(archive, name, letters, most).item() if name in held else None

    return Statistics(
        numbers("mu", np.float64),
        numbers("sigma", np.float64),
        single("n", "iu"),
        numbers("features", np.float32) if "features" in held else None,
        single("extractor", "U"),
        single("extractor_name", "U") or "",
        single("source", "U") or "",
        _shape(archive, held),
    )


def _shape(archive: ZipFile, held: Collection[str]) -> Shape | None:
    """That of the images, which our files say, and which ADM's hold."""
    if "shape" in held:
        h, w, c = read_array(archive, "shape", "iu", _ROOM).tolist()
        return h, w, c
    if "arr_0" in held:
        with archive.open("arr_0.npy") as stream:
            _, *shape = read_header(stream).shape or (0,)
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else None
    return None


def _check_gaussian(mean: NDArray[np.float64], cov: NDArray[np.float64]) -> None:
    """Raises LambdaSearchError unless they are the moments of something."""
    found = FrechetReference(mean, cov)
    if not found.dim:
        raise LambdaSearchError("Its moments are empty.")
    slack = _SLACK * float(found.cov.trace() + _SLACK * found.mean.square().sum())
    slack += np.finfo(float).tiny
    raised = found.cov + slack * torch.eye(found.dim, dtype=torch.float64)
    if torch.linalg.cholesky_ex(raised).info:  # quicker than the eigenvalues
        raise LambdaSearchError("Its covariance has negative eigenvalues.")


def write_statistics(path: Path, statistics: Statistics) -> None:
    """Writes a reference file; a crash leaves either all of it or nothing."""
    arrays: dict[str, Any] = {"mu": statistics.mean, "sigma": statistics.cov}
    if statistics.count is not None:
        arrays["n"] = statistics.count
    if statistics.features is not None:
        arrays["features"] = statistics.features
    if statistics.extractor is not None:
        arrays["extractor"] = statistics.extractor
    if statistics.shape is not None:
        arrays["shape"] = statistics.shape
    with written_whole(path) as stream:
        np.savez(
            stream,
            extractor_name=statistics.extractor_name,
            source=statistics.source,
            **arrays,
        )


def mark(path: Path, extractor: Described, source: str, out: Path) -> Statistics:
    """Writes the statistics in `path` to `out`, marked as made with `extractor`.

    Raises:
        UsageError: if they cannot be read, have another width, or say another extractor.
        LambdaSearchError: if `out` cannot be written.
    """
    found = read_statistics(path)
    check_width(found, path, extractor)
    if found.extractor not in (None, extractor.fingerprint):
        raise UsageError(
            f"The reference {path} says that {found.extractor_name or 'another extractor'} made "
            "it.",
            "A mark is never changed; make a reference with this extractor.",
        )
    marked = replace(
        found,
        extractor=extractor.fingerprint,
        extractor_name=extractor.name,
        source=found.source or source,
    )
    with saving(out, "Choose another place with --out."):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_statistics(out, marked)
    return marked


def check_width(found: Statistics, path: Path, extractor: Described) -> None:
    """Raises UsageError unless the statistics in `path` are as wide as the features."""
    if extractor.dim and len(found.mean) != extractor.dim:
        raise UsageError(
            f"The reference {path} is {len(found.mean)} wide, and the features of "
            f"{extractor.name} are {extractor.dim} wide: it was made with another extractor.",
            _AGAIN,
        )


def check_origin(found: Statistics, path: Path, extractor: Described) -> None:
    """Raises UsageError unless `extractor` made the statistics in `path`.

    A file that does not say what made it counts as what its name says, if clean-fid calls its own
    so; else, if it is as wide as Inception's features, as what EDM and ADM publish: Inception that
    resizes inside the network. An extractor whose weights are not here is known by its name alone.
    """
    check_width(found, path, extractor)
    registered = extractors()
    if extractor.fingerprint or found.extractor is None:
        another = found.extractor not in (None, extractor.fingerprint)
    else:  # files of one's own may be called anything
        names = {found.extractor_name, extractor.name}
        another = len(names) == 2 and not names.isdisjoint(registered)
    if another:
        name = f" ({found.extractor_name})" if found.extractor_name else ""
        raise UsageError(
            f"The reference {path} was made with another extractor{name} than the study's, "
            f"{extractor.name}: the network, the resize or the value range differ.",
            _AGAIN,
        )
    if found.extractor is not None:
        return
    said = next((word for word in CLEAN_FID_WORDS if f"_{word}_" in path.stem), None)
    if said is not None:  # the file is called as clean-fid calls its own
        belongs = said == extractor.published
    elif len(found.mean) == _INCEPTION_WIDTH:
        belongs = extractor.published == LEGACY
    else:  # nobody publishes such files; the bundled extractor's and the user's own are trusted
        belongs = extractor.name == "bundled" or extractor.name not in registered
    if not belongs:
        raise UsageError(
            f"The reference {path} does not say that {extractor.name} made it; files of EDM and "
            "ADM belong to inception-legacy, and those of clean-fid to what their name says.",
            "If this extractor did make it, say so, with its name in the study: "
            f"{command('reference', 'mark', path, '--extractor', 'NAME')}",
        )

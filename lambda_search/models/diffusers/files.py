"""The files of a pipeline's folder: which of them are read, and that these lie in it.

A part has a folder of its own, or lies in the root. Its weights are those that the library itself
would read: shards by their index, one file, or where there is neither, the one variant that there
is (`.fp16`, `.non_ema`). What is found here is what is hashed, and what is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.models.json_files import read_json

__all__ = [
    "all_weights",
    "check_inside",
    "check_part",
    "check_size",
    "check_variant",
    "finite",
    "place_of",
    "plain",
    "read_index",
    "read_part",
    "weights",
    "weights_name",
]

_PASSING = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")
"""What a config says of the file rather than of the network."""

_LARGEST_SIDE = 1 << 12
_INDEX_BYTES = 1 << 24
_STEMS = {
    "diffusers": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "transformers": ("model", "pytorch_model"),
}
"""Of a library's safetensors files, and of its pickles."""


def read_index(folder: Path) -> Mapping[str, Any]:
    """What model_index.json holds; of a UNet2DModel that lies alone, what it would hold.

    Raises:
        UsageError: if the folder has neither.
    """
    path = folder / "model_index.json"
    if path.is_file():
        check_inside(folder, path)
        try:
            return read_json(path)
        except UsageError as error:
            raise UsageError(
                f"{folder} is not a diffusers pipeline: {error.cause}", error.hint
            ) from error
    alone = _class_named(folder / "config.json")
    if alone is not None:
        scheduler = _class_named(folder / "scheduler_config.json")
        named = None if scheduler is None else ["diffusers", scheduler]
        return {"_class_name": alone, "unet": ["diffusers", alone], "scheduler": named}
    raise UsageError(
        f"{folder} is not a diffusers pipeline: model_index.json is missing.",
        "It needs model_index.json and a folder for each part that this names.",
    )


def place_of(folder: Path, part: str) -> Path:
    """Where the files of a part lie: in its own folder, else in the root."""
    return folder / part if (folder / part).is_dir() else folder


def read_part(folder: Path, part: str) -> dict[str, Any]:
    """A part's configuration, as its file has it.

    Raises:
        UsageError: if it cannot be read.
    """
    path = place_of(folder, part) / _config_name(part)
    check_inside(folder, path)
    told = read_json(path)
    return {key: value for key, value in told.items() if key not in _PASSING}


def check_part(folder: Path, part: str, kind: str) -> None:
    """Raises UsageError if the part is missing; `kind` is its class."""
    path = place_of(folder, part) / _config_name(part)
    if path.parent != folder:
        return
    named = _class_named(path)
    if not path.is_file() or (part != "scheduler" and named not in (kind, None)):
        raise UsageError(
            f"{folder} has no folder {part}.", "Fetch or copy the whole pipeline again."
        )


def all_weights(
    folder: Path, libraries: Mapping[str, str], variant: str | None
) -> dict[str, list[Path]]:
    """The files that hold the weights of each part, whose library is given.

    Raises:
        UsageError: as `weights`, and for a variant that no part has.
    """
    check_variant({part: _names(place_of(folder, part)) for part in libraries}, variant)
    return {part: weights(folder, part, library, variant) for part, library in libraries.items()}


def weights(folder: Path, part: str, library: str, variant: str | None = None) -> list[Path]:
    """The files that hold a part's weights.

    Arguments:
        folder: of the pipeline.
        part: of it; "" is the folder itself.
        library: diffusers or transformers.
        variant: which one, where there are several.

    Raises:
        UsageError: if there are none, if it is open which, or if one lies elsewhere.
    """
    place = place_of(folder, part) if part else folder
    name = weights_name(_names(place), library, variant, part or place.name)
    if name is None:
        raise UsageError(
            f"The weights in {folder} cannot be read: {part or 'it'} has no safetensors file, "
            "nor a .bin.",
            "Fetch or copy the whole pipeline again.",
        )
    check_inside(folder, place / name)
    if not name.endswith(".json"):
        return [place / name]
    files = [place / shard for shard in _shards(place / name)]
    for file in files:
        if not file.is_file():
            raise UsageError(
                f"The weights in {folder} cannot be read: {file.name} is missing, which "
                f"{name} names.",
                "Fetch or copy the whole pipeline again.",
            )
        check_inside(folder, file)
    return files


def weights_name(
    names: Collection[str], library: str, variant: str | None, part: str
) -> str | None:
    """The file, or the index of the files, that holds a part's weights; None if there is none.

    Arguments:
        names: of the files that lie there.
        library: diffusers or transformers.
        variant: which one, where it is there; else the usual files, or the only variant.
        part: for messages.

    Raises:
        UsageError: if there are several variants and nothing else, or shards without an index.
    """
    stem, pickled = _STEMS[library]
    found, pickles = _variants(names, stem, "safetensors"), _variants(names, pickled, "bin")
    if variant is not None and variant in (known := pickles | found):
        return known[variant]
    whole, index = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
    # where a folder has both, the two libraries differ
    for name in (index, whole) if library == "diffusers" else (whole, index):
        if name in names:
            return name
    if found:
        return _only(found, part)
    if any(re.fullmatch(rf"{stem}.*-\d+-of-\d+\.safetensors", name) for name in names):
        raise UsageError(
            f"{part} has shards of weights, and no index that names them.",
            f"Fetch {index} too.",
        )
    usual = next((n for n in (f"{pickled}.bin", f"{pickled}.bin.index.json") if n in names), None)
    return _only(pickles, part) if pickles and usual is None else usual


def check_variant(listed: Mapping[str, Collection[str]], variant: str | None) -> None:
    """Raises UsageError for a variant that no part has.

    Arguments:
        listed: names of the files of each part.
        variant: as a config says it; some parts may have their usual weights alone.
    """
    known: set[str] = set()
    for names in listed.values():
        for safe, pickled in _STEMS.values():
            known |= {*_variants(names, safe, "safetensors"), *_variants(names, pickled, "bin")}
    if variant is not None and variant not in known:
        there = f"The variants are {', '.join(sorted(known))}." if known else "It has none."
        raise UsageError(
            f"No part has weights of the variant {ascii(variant)[:80]}.",
            f"{there} Without variant in model.config the usual weights are read.",
        )


def _only(variants: Mapping[str, str], part: str) -> str:
    if len(variants) > 1:
        raise UsageError(
            f"{part} has weights in {len(variants)} variants: {', '.join(sorted(variants))}.",
            f"Say which in model.config: {{variant: {min(variants)}}}.",
        )
    return next(iter(variants.values()))


def check_inside(folder: Path, file: Path) -> None:
    """Raises UsageError for a link out of the folder, but to where a hub's cache keeps files."""
    root, target = folder.resolve(), file.resolve()
    kept = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    if not target.is_relative_to(root) and not target.is_relative_to(kept):
        raise UsageError(
            f"{file} is a link that leads out of {folder}.", "Put the file itself there."
        )


def check_size(sizes: Any) -> tuple[int, int]:
    """Height and width of a network's states.

    Raises:
        UsageError: if they are none.
    """
    match sizes:
        case (int(height), int(width)) if 0 < min(sizes) <= max(sizes) <= _LARGEST_SIDE:
            return height, width
    raise UsageError(
        f"A network's sample_size must be one or two numbers of 1 to {_LARGEST_SIDE}, not "
        f"{ascii(sizes)[:80]}.",
        "Fetch or copy the configuration again.",
    )


def plain(config: Any) -> dict[str, Any]:
    """A configuration without what the library adds for itself."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return finite({n: list(v) if isinstance(v, tuple) else v for n, v in kept.items()})


def finite(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with infinite numbers, which JSON has not, as words."""
    return {name: str(v) if v in (math.inf, -math.inf) else v for name, v in config.items()}


def _variants(names: Collection[str], stem: str, kind: str) -> dict[str, str]:
    """Variants of weights, and the file or index of each; an index comes first."""
    found: dict[str, str] = {}
    for pattern in (
        rf"{stem}\.{kind}\.index\.(\w[\w-]*)\.json",
        rf"{stem}\.(\w[\w-]*)\.{kind}\.index\.json",
        rf"{stem}\.(\w[\w-]*)\.{kind}",
    ):
        for name in sorted(names):
            told = re.fullmatch(pattern, name)
            if told and not re.search(r"-\d+-of-\d+$", told[1]):
                found.setdefault(told[1], name)
    return found


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _shards(index: Path) -> list[str]:
    """The names of the files that an index names, all of them plain."""
    told = read_json(index, _INDEX_BYTES).get("weight_map")
    named = list(told.values()) if isinstance(told, dict) else []
    suffix = ".bin" if ".bin.index." in index.name else ".safetensors"
    for name in named or [None]:
        if not isinstance(name, str) or not re.fullmatch(rf"\w[\w.-]*{re.escape(suffix)}", name):
            raise UsageError(
                f"{index} cannot be used: it names {ascii(name)[:80]} for weights.",
                f"It must name {suffix} files that lie beside it.",
            )
    return sorted(set(named))


def _config_name(part: str) -> str:
    return "scheduler_config.json" if part == "scheduler" else "config.json"


def _class_named(path: Path) -> str | None:
    """The class of diffusers that a configuration is of."""
    named = read_json(path).get("_class_name") if path.is_file() else None
    return named if isinstance(named, str) else None

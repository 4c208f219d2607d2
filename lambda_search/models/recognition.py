"""A checkpoint and what its user tells of it, put together until it can be sampled."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any
from typing import TypeAlias

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import read_config
from lambda_search.models.inspection import recognise
from lambda_search.models.registry import ConfigNeeded
from lambda_search.models.registry import framework_of
from lambda_search.models.registry import load_model
from lambda_search.paths import locate
from lambda_search.spec.blanks import BLANK
from lambda_search.spec.configs import read_config_text

__all__ = ["Ask", "Recognised", "one_file", "recognised"]

Ask: TypeAlias = Callable[[ConfigNeeded], str | None]
"""Asks for the entry of a config that is needed; None: it is not known yet."""

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SUFFIXES = (".pt", ".pth", ".pkl", ".ckpt", ".safetensors")
_STANDS_IN: Mapping[str, Any] = {"prompts": ["a picture"]}
"""With which a model is read while the real entry is blank."""


@dataclass(frozen=True)
class Recognised:
    """A checkpoint, as a study file names it.

    Arguments:
        checkpoint: the file, the folder, or the hub name.
        framework: how it is read.
        config: as the study file has it: a path, a mapping, perhaps with blanks, or None.
        model: read on the CPU; None while the config is blank.
        needs: what has to be filled in for a blank, in words.
    """

    checkpoint: str
    framework: str
    config: dict[str, Any] | str | None
    model: Model | None
    needs: tuple[str, ...] = field(default=())


def one_file(checkpoint: str) -> str:
    """The checkpoint itself, where `checkpoint` is a folder that holds a single one.

    Raises:
        UsageError: for a folder with several, or with none.
    """
    path = locate(checkpoint)
    if path is None or not path.is_dir() or (path / "model_index.json").is_file():
        return checkpoint
    files = sorted(file.name for file in path.iterdir() if file.suffix in _SUFFIXES)
    match files:
        case [name]:
            return str(Path(checkpoint) / name)
        case []:
            raise UsageError(
                f"The folder {checkpoint} holds no checkpoint: neither model_index.json nor a "
                f"file that ends in {', '.join(_SUFFIXES)}.",
                "Name the checkpoint's file, or a pipeline's folder.",
            )
    shown = ", ".join(files[:8]) + (" …" if len(files) > 8 else "")
    raise UsageError(f"The folder {checkpoint} holds several checkpoints: {shown}.", "Name one.")


def recognised(
    checkpoint: str,
    framework: str | None = None,
    config: str | None = None,
    entries: Mapping[str, str] | None = None,
    ask: Ask = lambda needed: None,
) -> Recognised:
    """Reads a checkpoint with its config; what is missing in that is asked for, or left blank.

    Arguments:
        checkpoint: as `one_file` returns it, or a hub name.
        framework: its name, where it is known.
        config: the path of a JSON or YAML file, or a mapping written as in YAML: `{…}`.
        entries: further ones of the config, such as `vae` and `prompts`.
        ask: for what is missing.

    Raises:
        UsageError: if there is no such checkpoint, or no framework knows it; and for a config
            that cannot be read or does not fit.
    """
    framework, known = _framework(checkpoint, framework)
    needs = framework_of(framework).needs
    told = _told(config)
    for entry, value in (entries or {}).items():
        told = _with(told, known, entry, value)
    left: dict[str, str] = {}
    while True:
        try:
            model = load_model(framework, checkpoint, _to_load(told))
            _check_decoder(model, left)
            return Recognised(checkpoint, framework, told, model, tuple(left.values()))
        except ConfigNeeded as needed:
            if needed.entry in left:  # nothing stands in for it
                raise
            answer, words = ask(needed), f"{needed.cause} {needed.hint}"
            if answer is None:
                left[needed.entry] = words
            if needed.entry:
                told = _with(told, known, needed.entry, answer or BLANK)
            elif answer is None:
                words = f"{needed.cause} {needs or needed.hint}"
                return Recognised(checkpoint, framework, BLANK, None, (words,))
            else:
                told = _told(answer)


def _check_decoder(model: Model, left: Mapping[str, str]) -> None:
    """Raises ConfigNeeded for a decoder that is missing and not left blank."""
    try:
        model.check_decoder()
    except ConfigNeeded as needed:
        if needed.entry not in left:
            raise


def _framework(checkpoint: str, wanted: str | None) -> tuple[str, dict[str, Any] | None]:
    here = locate(checkpoint) is not None
    if not here and _HUB.fullmatch(checkpoint) and Path(checkpoint).suffix not in _SUFFIXES:
        return wanted or "diffusers", None  # of the hub, or a folder that is not there
    return recognise(checkpoint, wanted)


def _told(config: str | None) -> dict[str, Any] | str | None:
    """A config as it was typed: a path, or a mapping in braces."""
    if config is None or not config.lstrip().startswith("{"):
        return config
    try:
        return read_config_text(config.encode())
    except ValueError as error:
        raise UsageError(
            f"The config {config} cannot be read: {first_line(error)}.",
            "Write it as {name: value, …}, or name a JSON or YAML file.",
        ) from error


def _with(
    told: dict[str, Any] | str | None, known: dict[str, Any] | None, entry: str, value: str
) -> dict[str, Any]:
    """The config with one more entry; what the file says of itself would be hidden by it."""
    base = known or {} if told is None else read_config(told)
    return {**base, entry: value}


def _to_load(told: dict[str, Any] | str | None) -> dict[str, Any] | str | None:
    if not isinstance(told, dict):
        return told
    kept = {name: value for name, value in told.items() if value != BLANK}
    blank = told.keys() - kept.keys()
    return kept | {name: value for name, value in _STANDS_IN.items() if name in blank}

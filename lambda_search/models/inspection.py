"""What a checkpoint file is, and a safe copy of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import read_config
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.registry import Config
from lambda_search.models.registry import Framework
from lambda_search.models.registry import converted_config
from lambda_search.models.registry import framework_of
from lambda_search.models.registry import frameworks
from lambda_search.models.registry import load_model
from lambda_search.models.states import refuse_foreign
from lambda_search.models.states import state_of
from lambda_search.models.states import summary
from lambda_search.paths import locate
from lambda_search.spec.configs import read_config_file

__all__ = ["Description", "convert", "inspect", "recognise"]


@dataclass(frozen=True)
class Description:
    """What is known of a checkpoint.

    Arguments:
        path: the file or folder.
        framework: the name that a study file gives it.
        parameters: of the networks that sampling runs.
        shape: (c, h, w) of the states; None where the config is needed to know it.
        conditioning: in words; None where the config is needed to know it.
        samplers: what it can be sampled with.
        licence: of the weights that the authors publish; the file itself does not say.
        config: the framework's own options, where they are known.
        missing: what is needed before it can be sampled; None: nothing.
    """

    path: Path
    framework: str
    parameters: int
    shape: tuple[int, int, int] | None
    conditioning: str | None
    samplers: tuple[str, ...]
    licence: str
    config: dict[str, Any] | None
    missing: str | None


def inspect(checkpoint: str, config: Config = None) -> Description:
    """Says what a checkpoint is; nothing in it is executed.

    Arguments:
        checkpoint: a file, a folder, or `bundled:NAME`.
        config: the framework's own options, where the file does not hold them.

    Raises:
        UsageError: if there is none, if it cannot be read, or if no framework knows it.
    """
    path, name, framework, content = _recognised(checkpoint)
    known = _config(path, framework, content, config)
    try:
        model = load_model(name, checkpoint, config)
    except UsageError as error:
        if config is not None or path.is_dir():
            raise
        tensors = framework.weights(content) or {}
        return Description(
            path,
            name,
            sum(tensor.numel() for tensor in tensors.values()),
            None,
            None,
            (),
            framework.licence,
            known,
            f"{error.cause}\n{framework.needs}",
        )
    return Description(
        path,
        name,
        _parameters(model),
        model.shape,
        _conditioning(model),
        model.samplers,
        framework.licence,
        known,
        None,
    )


def recognise(checkpoint: str, wanted: str | None = None) -> tuple[str, dict[str, Any] | None]:
    """The framework of a checkpoint, and what is known of its config.

    Raises:
        UsageError: as `inspect`, and if it is none of the framework `wanted`.
    """
    path, name, framework, content = _recognised(checkpoint)
    if wanted not in (None, name):
        framework = framework_of(wanted)
        if framework.weights(content) is None:
            raise UsageError(
                f"{path.name} is no checkpoint of {wanted}; it looks like one of {name}.",
                "Leave the framework out, or name another.",
            )
        name = wanted
    return name, _config(path, framework, content, None)


def convert(checkpoint: str, out: Path | None = None, config: Config = None) -> Path:
    """Writes a checkpoint's weights as `.safetensors` and what they are as `.json` beside it.

    Only what sampling needs is kept: the moving averages, no optimiser. The copy loads as the
    original does, with the same framework name.

    Arguments:
        checkpoint: a file.
        out: the `.safetensors` file; by default beside the original, under its name.
        config: the framework's own options, where the file does not hold them.

    Returns:
        The `.safetensors` file.

    Raises:
        UsageError: if it cannot be read, does not fit the config, or is no single file.
    """
    path, name, framework, content = _recognised(checkpoint)
    if path.is_dir():
        raise UsageError(f"{path} is a folder of safetensors already.", "Use it as it is.")
    known = _config(path, framework, content, config)
    load_model(name, checkpoint, config)  # says what does not fit
    target = (out or path).with_suffix(".safetensors")
    beside = target.with_suffix(".json")
    for file in (target, beside):
        if file.exists():
            raise UsageError(f"{file} exists already.", "Choose another place with --out.")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", "Make it, or choose another.")
    told = {
        "framework": name,
        "licence": framework.licence,
        "source": {"file": path.name, "sha256": sha256_of(path)},
        "config": known,
    }
    tensors = framework.weights(content) or {}
    separate = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    try:
        save_file(separate, target, metadata={"framework": name})
        beside.write_text(json.dumps(told, indent=2) + "\n")
    except (OSError, SafetensorError) as error:
        target.unlink(missing_ok=True)
        raise UsageError(
            f"{target} cannot be written: {error}.", "Choose another place with --out."
        ) from error
    return target


def _recognised(checkpoint: str) -> tuple[Path, str, Framework, Any]:
    path = locate(checkpoint)
    if path is None:
        raise UsageError(f"There is no file {checkpoint}.", "Check the path.")
    content: Any = path if path.is_dir() else read_checkpoint(path)
    named = converted_name(path)
    for name in (named,) if named else frameworks():
        framework = framework_of(name)
        found = framework.weights(content)
        if found is not None and all(isinstance(value, Tensor) for value in found.values()):
            return path, name, framework, content
    if isinstance(content, Mapping):
        refuse_foreign(state_of(content, ("state_dict", "ema", "model")) or {}, path.name)
    raise UsageError(
        f"{path.name} is no checkpoint of a known framework: {_summary(content)}.",
        f"Known: {', '.join(frameworks())}.",
    )


def converted_name(path: Path) -> str | None:
    """The framework that `convert` noted beside a `.safetensors`."""
    if path.suffix != ".safetensors" or not path.with_suffix(".json").is_file():
        return None
    try:
        name = read_config_file(path.with_suffix(".json")).get("framework")
    except (OSError, ValueError):
        return None  # something else of that name
    return name if name in frameworks() else None


def _config(
    path: Path, framework: Framework, content: Any, config: Config
) -> dict[str, Any] | None:
    """What is told, what `convert` noted, what the file says, or what lies beside it."""
    if config is not None:
        return read_config(config)
    beside = path.with_name("config.yaml")
    found = converted_config(path) or framework.config(content)
    if found is None and path.is_file() and beside.is_file():
        return read_config(beside)
    return found


def _parameters(model: Model) -> int:
    networks = [part for part in vars(model).values() if isinstance(part, nn.Module)]
    each = dict.fromkeys(p for network in networks for p in network.parameters())
    return sum(p.numel() for p in each)


def _conditioning(model: Model) -> str:
    if model.classes is None:
        return "unconditional"
    guided = "" if model.null_label is None else ", classifier-free guidance"
    return f"{model.classes:,} classes{guided}"


def _summary(content: Any) -> str:
    if isinstance(content, Path):
        return "the folder has no model_index.json that could be read"
    return summary(content)

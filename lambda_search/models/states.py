"""State dicts in what a file holds: wrappers around them, and other programs' files.

Training leaves its wrappers in the names: DataParallel and DistributedDataParallel `module.`,
torch.compile `_orig_mod.`, Lightning's strategies `_forward_module.`, and two of sharding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.errors import printable

__all__ = [
    "foreign",
    "refuse_foreign",
    "state_dict",
    "state_of",
    "summary",
    "tensors",
    "unwrapped",
]

_INNER = "_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module"
_WRAPPERS = re.compile(rf"\A(?:(?:module|{_INNER})\.)+|(?<=\.)(?:(?:{_INNER})\.)+")
_FOREIGN = (  # (how some name begins, what the file is)
    ("conditioner.embedders.", "a Stable Diffusion XL checkpoint in a single file"),
    ("cond_stage_model.transformer.", "a Stable Diffusion checkpoint in a single file"),
    ("cond_stage_model.model.", "a Stable Diffusion 2 checkpoint in a single file"),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint in a single file"),
    ("model.diffusion_model.double_blocks.", "a Flux checkpoint in a single file"),
    ("double_blocks.", "a Flux network in a single file"),
    ("joint_blocks.", "a Stable Diffusion 3 network in a single file"),
    ("control_model.", "a ControlNet"),
    ("lora_", "a LoRA, an addition to a model's weights"),
    ("down_blocks.", "a network of diffusers without its pipeline"),
    ("transformer_blocks.", "a network of diffusers without its pipeline"),
    ("text_model.", "a text encoder"),
)
_LORA = (".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight")
_TO_DIFFUSERS = "Name it with framework: diffusers, which reads pipelines and such files."
_INSTEAD = {
    "a ControlNet": "Pass the model that it steers, with framework: diffusers.",
    "a LoRA, an addition to a model's weights": "Pass the model that it belongs to.",
    "a text encoder": "Pass the pipeline that it belongs to, with framework: diffusers.",
    "a network of diffusers without its pipeline": (
        "Pass the pipeline's folder, with model_index.json, and framework: diffusers."
    ),
}
_SHOWN = 4
_DEEPEST = 16
"""Records around weights."""


def unwrapped(name: str) -> str:
    """`name` without the wrappers of training."""
    return _WRAPPERS.sub("", name)


def state_of(content: Any, prefer: Sequence[str] = ()) -> dict[str, Tensor] | None:
    """The tensors in what a file holds, by name, without wrappers; None if there is no one set.

    Arguments:
        content: tensors by name, perhaps beside numbers of the training; or records around one
            such mapping (`state_dict`, `model`, `module` …).
        prefer: the record to take where there are several.

    Raises:
        UsageError: if names that differ by their wrappers alone are given twice.
    """
    for _ in range(_DEEPEST):  # records may hold themselves
        sets = _sets(content)
        chosen = prefer if len(sets) > 1 else list(sets)
        content = next((sets[name] for name in chosen if name in sets), None)
        if "" in sets:
            break
    else:
        return None
    own = sets[""]
    named = {unwrapped(name): value for name, value in own.items()}
    if len(named) < len(own):
        twice = Counter(map(unwrapped, own)).most_common(1)[0][0]
        raise UsageError(
            f"The checkpoint names {printable(twice)} twice, with and without a wrapper.",
            "Save the network's own state dict alone.",
        )
    return named


def tensors(content: Any, source: str, prefer: Sequence[str] = ()) -> dict[str, Tensor]:
    """The state dict in `content` of one of the frameworks that have their own networks.

    Raises:
        UsageError: if there is none, or several, or if it is another program's.
    """
    found = state_dict(content, source, prefer)
    refuse_foreign(found, source)
    return found


def state_dict(content: Any, source: str, prefer: Sequence[str] = ()) -> dict[str, Tensor]:
    """The state dict in `content`, as `state_of` finds it.

    Raises:
        UsageError: if there is none, or several.
    """
    found = state_of(content, prefer)
    if found is None:
        sets = [printable(name) for name in _sets(content)]
        several = f"several: {', '.join(sets[:_SHOWN])}" if sets else "none"
        raise UsageError(
            f"{source} is no checkpoint of this framework: where one state dict is needed, "
            f"it holds {several}; {summary(content)}.",
            "Check the path and the framework, or save the state dict alone.",
        )
    return found


def refuse_foreign(state: Mapping[str, Tensor], source: str) -> None:
    """Raises UsageError for weights of which is known what they are, and that we run otherwise."""
    what = foreign(state)
    if what is not None:
        raise UsageError(
            f"{source} is {what}, not a checkpoint of this framework.",
            _INSTEAD.get(what, _TO_DIFFUSERS),
        )


def foreign(state: Mapping[str, Tensor]) -> str | None:
    """What other program's weights these are, if they are known for such."""
    if any(name.endswith(_LORA) for name in state):
        return "a LoRA, an addition to a model's weights"
    starts = {start for start, _ in _FOREIGN for name in state if name.startswith(start)}
    return next((what for start, what in _FOREIGN if start in starts), None)


def summary(content: Any) -> str:
    """What a file holds, in a few words."""
    if not isinstance(content, Mapping):
        own = getattr(content, "class_name", type(content).__name__)
        return f"it holds a {printable(own)}"
    names = [printable(name) for name in content if isinstance(name, str)][:_SHOWN]
    what = "tensors" if all(isinstance(v, Tensor) for v in content.values()) else "entries"
    return f"it holds the {what} {', '.join(names)} …" if names else "it holds no names"


def _sets(content: Any) -> dict[str, Mapping[str, Tensor]]:
    """The sets of tensors by name in a file: under "" its own, else those of its records."""
    if not isinstance(content, Mapping):
        return {}
    own = {n: v for n, v in content.items() if isinstance(n, str) and isinstance(v, Tensor)}
    if any(value.ndim for value in own.values()):
        return {"": own}
    names = [n for n in content if isinstance(n, str) and n]
    nested = {n: content[n] for n in names if isinstance(content[n], Mapping)}
    once = {id(v): v for v in nested.values()}  # many names may be of one long record
    some = {key for key, v in once.items() if any(isinstance(t, Tensor) for t in v.values())}
    return {n: v for n, v in nested.items() if id(v) in some}

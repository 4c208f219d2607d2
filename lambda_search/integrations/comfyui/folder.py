"""The folder that ComfyUI loads: our node, and for each exported row its table.

    __init__.py nodes.py pyproject.toml README.md    as they lie in `node-folder`
    tables/NAME.json                                 σ and λ, step by step, which the node reads
    tables/NAME.md                                   for people
    example_workflows/NAME.json                      for ComfyUI's list of templates

NAME is made of the row: the letters of its model's name that every file system takes, sampler,
steps and the row's first digits. A file that is there is never written over: a folder that holds
anything else is refused before anything is written, and rows join the folder of the same release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.files import written_whole
from lambda_search.integrations.comfyui import words
from lambda_search.integrations.comfyui.matching import Match
from lambda_search.integrations.comfyui.matching import match
from lambda_search.integrations.comfyui.workflow import workflow
from lambda_search.records import NoiseLevel
from lambda_search.records import Row
from lambda_search.shell import command

__all__ = ["check_row", "name_of", "node_files", "table", "write_node"]

FORMAT = "lambda_search.comfyui/1"
_LONGEST = 40
_CODE = ("__init__.py", "nodes.py", "pyproject.toml", "README.md")
_KEPT_BY_PYTHON = "__pycache__"


def check_row(row: Row) -> None:
    """Raises UsageError for a row that says nothing about ComfyUI's samplers."""
    model = row.setting.model
    if row.retraction is not None:
        raise UsageError(
            f"The row {row.id[:12]} was taken back: {row.retraction.reason}.",
            f"See what stands with: {command('best', model)}",
        )
    if row.setting.site != "full":
        raise UsageError(
            f"The λ of row {row.id[:12]} divides ε in the estimate of x0 alone (site "
            f"{row.setting.site}), which reacts 2 to 19 times as strongly. ComfyUI's hook acts on "
            "all that follows from ε, and nothing was measured there.",
            f"Search one with site: full. What is known: {command('best', model)}",
        )


def write_node(row: Row, levels: Sequence[NoiseLevel], folder: Path) -> str:
    """Writes the node with a row's table, or adds the table to the node that is there.

    Arguments:
        row: checked by `check_row`.
        levels: where its steps call the network, least noisy first.
        folder: of the node, in ComfyUI's custom_nodes; made if it is not there.

    Returns:
        The table's name in the node's list.

    Raises:
        UsageError: if the folder holds something else; nothing is written then.
        LambdaSearchError: if it cannot be written.
    """
    files = node_files(row, levels)
    try:
        _check_folder(folder, files)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with written_whole(path) as stream:
                    stream.write(content)
    except OSError as error:
        raise LambdaSearchError(
            f"{folder} cannot be written: {error.strerror or error}.",
            "Choose another place with --to.",
        ) from error
    return name_of(row)


def node_files(row: Row, levels: Sequence[NoiseLevel]) -> dict[str, bytes]:
    """Contents by name, below the node's folder; arguments as `write_node` has them."""
    found, name = match(row.setting, levels), name_of(row)
    code = resources.files(__package__) / "node-folder"
    about = words.note(row, found, levels)
    example = workflow(name, found, f"{words.title(row)}\n\n{words.use(found)}")
    return {one: (code / one).read_bytes() for one in _CODE} | {
        f"tables/{name}.json": _json(table(row, levels, found)),
        f"tables/{name}.md": about.encode(),
        f"example_workflows/{name}.json": _json(example),
    }


def table(row: Row, levels: Sequence[NoiseLevel], found: Match) -> dict[str, Any]:
    """What the node reads: at pure noise σ is null, and λ 1."""
    return {
        "format": FORMAT,
        "title": words.title(row),
        "use": words.use(found),
        "row": row.id,
        "weights": row.setting.weights,
        "setting": json.loads(row.setting.key),
        "status": row.status,
        "levels": [
            {"timestep": timestep, "sigma": sigma, "lambda": 1.0 if sigma is None else value}
            for (timestep, sigma), value in zip(levels, row.lambdas, strict=True)
        ],
    }


def name_of(row: Row) -> str:
    """The table's name: unique, and fit for every file system."""
    model = re.sub(r"[^A-Za-z0-9_]+", "-", row.setting.model).strip("-")[:_LONGEST] or "model"
    sampler = re.sub(r"[^A-Za-z0-9_]+", "-", row.setting.solver)
    return f"{model}-{sampler}-{row.setting.steps}-{row.id[:12]}"


def _check_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Raises UsageError unless the folder is new, empty, or holds this node."""
    if not folder.exists() and not folder.is_symlink():
        return
    own = {name.partition("/")[0] for name in files} | {_KEPT_BY_PYTHON}
    others = [] if not folder.is_dir() else [one.name for one in folder.iterdir()]
    foreign = sorted(one for one in others if one not in own and not one.startswith("."))
    if not folder.is_dir() or foreign:
        holds = f"holds {foreign[0]!r}" if foreign else "is no folder"
        raise UsageError(
            f"{folder} {holds}, and the node has a folder of its own.",
            f"Name a new one, such as: --to {folder / 'lambda_search'}",
        )
    for name, content in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() != content:
            raise UsageError(
                f"{path} is there and is not what would be written.",
                "It was changed, or another release wrote it. Name another folder, or remove it.",
            )


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

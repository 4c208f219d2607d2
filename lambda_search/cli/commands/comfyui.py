"""`export --format comfyui`: a row in one number, or as a node with λ(σ)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.errors import NoScheduleFound
from lambda_search.errors import UsageError
from lambda_search.integrations.comfyui import check_levels
from lambda_search.integrations.comfyui import check_row
from lambda_search.integrations.comfyui import constant_facts
from lambda_search.integrations.comfyui import facts
from lambda_search.integrations.comfyui import known_levels
from lambda_search.integrations.comfyui import match
from lambda_search.integrations.comfyui import use
from lambda_search.integrations.comfyui import write_node
from lambda_search.records import Row
from lambda_search.store.lookup import best
from lambda_search.store.lookup import constant_beside
from lambda_search.store.lookup import matches
from lambda_search.store.store import Store

__all__ = ["export_to_comfyui"]


def export_to_comfyui(
    store: str | None,
    names: Sequence[str],
    steps: int | None,
    sampler: str | None,
    row: str | None,
    to: str | None,
) -> None:
    """Tells what ComfyUI, Forge and reForge are to be given of a row, and writes the node.

    Arguments:
        store: its URL.
        names: one model, or none where the row is named.
        steps, sampler: as in `best`.
        row: the row's first digits.
        to: the node's folder; None only tells.
    """
    if to is not None and "://" in to:
        raise UsageError(
            f"{to.split('://')[0]}:// is no folder.",
            "Name the node's folder, such as: --to ComfyUI/custom_nodes/lambda_search",
        )
    with closing(Store.look(store)) as opened:
        found = _named(opened, names, steps, row) or _best(opened, names[0], steps, sampler)
        beside = constant_beside(found, opened)
    check_row(found)
    levels = known_levels(found)
    if to is not None:
        check_levels(found, levels)
        folder = Path(to).expanduser()
        table = write_node(found, levels, folder)
        err.print(Text(f"the table {table} is in {folder}; ComfyUI finds it when it is restarted"))
    walked = match(found.setting, levels)
    grid = Table.grid(padding=(0, 2))
    for name, told in (*facts(found, walked), *constant_facts(found, beside)):
        grid.add_row(Text(name, "dim"), Text(told))
    out.print(grid)
    out.print(Text(use(walked)))
    for caution in found.provenance.cautions:
        err.print(Text(f"caution: {caution}"))


def _named(store: Store, names: Sequence[str], steps: int | None, row: str | None) -> Row | None:
    """The row that is named; None where a model and its steps are.

    Raises:
        UsageError: for neither.
    """
    if row is not None:
        return store.row(row)
    if len(names) != 1 or steps is None:
        raise UsageError(
            "A node is made of one row.", "Name a model with --steps N, or a row with --row ID."
        )
    return None


def _best(store: Store, model: str, steps: int | None, sampler: str | None) -> Row:
    """The row that `best` shows; of several sites that which ComfyUI has."""
    try:
        return best(model, steps, sampler, store, site="full")
    except NoScheduleFound:
        return matches(model, steps, sampler, store)[0]  # of another site, or the miss itself
    except UsageError as error:
        raise UsageError(error.cause, "Name one with --row ID.") from error

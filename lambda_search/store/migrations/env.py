"""Alembic's entry: our tables only, and our own version table (Optuna has `alembic_version`)."""

from __future__ import annotations

from alembic import context
from alembic.runtime.environment import NameFilterParentNames
from alembic.runtime.environment import NameFilterType

from lambda_search.store.engine import VERSION_TABLE
from lambda_search.store.tables import Base


def _is_ours(name: str | None, kind: NameFilterType, _parents: NameFilterParentNames) -> bool:
    return kind != "table" or (name or "").startswith("ls_")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=_is_ours,
    render_as_batch=True,
)
context.run_migrations()

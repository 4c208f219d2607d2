"""Rounds whose schedules are compared with another one than λ = 1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    column = sa.Column("through", sa.Integer(), nullable=False, server_default="0")
    op.add_column("ls_evaluation", column)

"""Whose turn it is: studies' priorities, and on whose behalf they wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for column in (
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("asker", sa.String(length=100), nullable=False, server_default=""),
    ):
        op.add_column("ls_study", column)

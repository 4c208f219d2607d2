"""Rounds that rank by the distance in some of the reference's components."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("ls_round", sa.Column("components", sa.Integer(), nullable=True))
    op.add_column("ls_round", sa.Column("scores", sa.JSON(none_as_null=True), nullable=True))

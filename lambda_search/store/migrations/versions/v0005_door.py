"""Which way a study came: what is posted to a service may name less than what is submitted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    column = sa.Column("door", sa.String(length=20), nullable=False, server_default="")
    op.add_column("ls_study", column)

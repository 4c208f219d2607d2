"""Where searches begin that take over what is best for a relative."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("ls_study", sa.Column("warm_start", sa.JSON(none_as_null=True), nullable=True))

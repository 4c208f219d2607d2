"""Rounds of searches by the knowledge gradient; proofs that are asked for again, and in looks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "ls_round",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_index", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("trials", sa.JSON(), nullable=False),
        sa.Column("covariance", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("judgement", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["ls_study.id"], name=op.f("fk_ls_round_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_round")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_ls_round_study_id_number")),
    )
    for table, name in (("ls_study", "proof_wanted"), ("ls_evaluation", "terms")):
        op.add_column(table, sa.Column(name, sa.JSON(none_as_null=True), nullable=True))

"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ls_model",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("framework", sa.String(length=50), nullable=False),
        sa.Column("dataset", sa.String(length=200), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_model")),
        sa.UniqueConstraint("name", "weights", name=op.f("uq_ls_model_name_weights")),
    )
    op.create_index(op.f("ix_ls_model_name"), "ls_model", ["name"], unique=False)
    op.create_table(
        "ls_setting",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("sampler", sa.String(length=50), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["ls_model.id"], name=op.f("fk_ls_setting_model_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_setting")),
        sa.UniqueConstraint("digest", name=op.f("uq_ls_setting_digest")),
    )
    op.create_index(op.f("ix_ls_setting_model_id"), "ls_setting", ["model_id"], unique=False)
    op.create_table(
        "ls_study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("setting_id", sa.Integer(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("schedule_steps", sa.Integer(), nullable=False),
        sa.Column("identity", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("owner", sa.JSON(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["setting_id"], ["ls_setting.id"], name=op.f("fk_ls_study_setting_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_study")),
        sa.UniqueConstraint("name", name=op.f("uq_ls_study_name")),
    )
    op.create_index(op.f("ix_ls_study_setting_id"), "ls_study", ["setting_id"], unique=False)
    op.create_table(
        "ls_evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("trial", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("first_index", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("fid", sa.Double(), nullable=False),
        sa.Column("corrected", sa.Double(), nullable=False),
        sa.Column("standard_error", sa.Double(), nullable=False),
        sa.Column("gain", sa.Double(), nullable=False),
        sa.Column("raw_gain", sa.Double(), nullable=False),
        sa.Column("gain_standard_error", sa.Double(), nullable=False),
        sa.Column("correlation", sa.Double(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["ls_study.id"], name=op.f("fk_ls_evaluation_study_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_evaluation")),
        sa.UniqueConstraint(
            "study_id", "fingerprint", name=op.f("uq_ls_evaluation_study_id_fingerprint")
        ),
    )
    op.create_table(
        "ls_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["ls_study.id"], name=op.f("fk_ls_event_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_event")),
    )
    op.create_index(op.f("ix_ls_event_study_id"), "ls_event", ["study_id"], unique=False)
    op.create_table(
        "ls_schedule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("setting_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=True),
        sa.Column("trial", sa.Integer(), nullable=True),
        sa.Column("b", sa.Double(), nullable=False),
        sa.Column("k", sa.Double(), nullable=False),
        sa.Column("lambdas", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("fid", sa.Double(), nullable=False),
        sa.Column("fid_low", sa.Double(), nullable=False),
        sa.Column("fid_high", sa.Double(), nullable=False),
        sa.Column("baseline_fid", sa.Double(), nullable=False),
        sa.Column("baseline_low", sa.Double(), nullable=False),
        sa.Column("baseline_high", sa.Double(), nullable=False),
        sa.Column("gain", sa.Double(), nullable=False),
        sa.Column("gain_low", sa.Double(), nullable=False),
        sa.Column("gain_high", sa.Double(), nullable=False),
        sa.Column("gain_level", sa.Double(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["setting_id"], ["ls_setting.id"], name=op.f("fk_ls_schedule_setting_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["ls_study.id"], name=op.f("fk_ls_schedule_study_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_schedule")),
    )
    op.create_index("ix_ls_schedule_lookup", "ls_schedule", ["setting_id", "status"], unique=False)
    op.create_index(op.f("ix_ls_schedule_study_id"), "ls_schedule", ["study_id"], unique=False)
    op.create_table(
        "ls_trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("b", sa.Double(), nullable=False),
        sa.Column("k", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("slope", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("n", sa.Integer(), nullable=True),
        sa.Column("gain", sa.Double(), nullable=True),
        sa.Column("fid", sa.Double(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["ls_study.id"], name=op.f("fk_ls_trial_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_trial")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_ls_trial_study_id_number")),
    )

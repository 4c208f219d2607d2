"""Rows named by their content, typed provenance, retractions; studies that wait without weights.

Keys of equal effect become one: what a fingerprint names loses its file's name, guidance 1 is no
guidance, and a grid of sections has as many steps as it says. Settings whose keys are now equal
are merged. Nothing here imports what a later release may change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _add_tables()
    _add_columns()
    settings = _respelled_settings()
    _take_back()
    _read_rows_anew(settings)
    _merge(settings)
    with op.batch_alter_table("ls_setting") as batch:
        batch.alter_column("extractor", existing_type=sa.Text(), nullable=False)
        batch.alter_column("reference", existing_type=sa.Text(), nullable=False)
    with op.batch_alter_table("ls_schedule") as batch:
        batch.alter_column("content", existing_type=sa.String(64), nullable=False)
        batch.create_unique_constraint(op.f("uq_ls_schedule_content"), ["content"])


def _add_tables() -> None:
    op.create_table(
        "ls_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("driver", sa.String(length=255), nullable=False),
        sa.Column("began", MOMENT, nullable=False),
        sa.Column("ended", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["ls_study.id"], name=op.f("fk_ls_attempt_study_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_attempt")),
    )
    op.create_index(op.f("ix_ls_attempt_study_id"), "ls_attempt", ["study_id"], unique=False)
    op.create_table(
        "ls_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["ls_study.id"], name=op.f("fk_ls_file_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_file")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_ls_file_study_id_name")),
    )
    op.create_table(
        "ls_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("preview", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("caption", sa.String(length=200), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["ls_study.id"], name=op.f("fk_ls_image_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_image")),
        sa.UniqueConstraint("preview", "place", name=op.f("uq_ls_image_preview_place")),
    )
    op.create_index(op.f("ix_ls_image_study_id"), "ls_image", ["study_id"], unique=False)
    op.create_table(
        "ls_retraction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["ls_schedule.id"], name=op.f("fk_ls_retraction_schedule_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ls_retraction")),
        sa.UniqueConstraint("schedule_id", name=op.f("uq_ls_retraction_schedule_id")),
    )


def _add_columns() -> None:
    with op.batch_alter_table("ls_model") as batch:
        batch.add_column(sa.Column("hub", sa.String(length=200), nullable=True))
        batch.add_column(sa.Column("revision", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("file", sa.String(length=255), nullable=True))
    with op.batch_alter_table("ls_setting") as batch:
        batch.add_column(sa.Column("extractor", sa.Text(), nullable=True))
        batch.add_column(sa.Column("reference", sa.Text(), nullable=True))
    with op.batch_alter_table("ls_study") as batch:
        batch.alter_column("setting_id", existing_type=sa.Integer(), nullable=True)
        batch.alter_column("schedule_steps", existing_type=sa.Integer(), nullable=True)
        batch.add_column(sa.Column("base", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("decisive", sa.String(length=64), nullable=True))
        batch.add_column(
            sa.Column("stop_wanted", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch.add_column(sa.Column("progress", sa.JSON(none_as_null=True), nullable=True))
        batch.add_column(sa.Column("queued", MOMENT, nullable=True))
    op.execute("UPDATE ls_study SET queued = created")
    with op.batch_alter_table("ls_study") as batch:
        batch.alter_column("queued", existing_type=MOMENT, nullable=False)
    op.create_index("ix_ls_study_queue", "ls_study", ["state", "queued"], unique=False)
    with op.batch_alter_table("ls_trial") as batch:
        batch.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("ls_event") as batch:
        batch.add_column(
            sa.Column("kind", sa.String(length=20), nullable=False, server_default="warning")
        )
    with op.batch_alter_table("ls_schedule") as batch:
        batch.add_column(sa.Column("content", sa.String(length=64), nullable=True))
        batch.add_column(
            sa.Column("origin_by", sa.String(length=200), nullable=False, server_default="")
        )
        batch.add_column(
            sa.Column("origin_tool", sa.String(length=100), nullable=False, server_default="")
        )


def _respelled_settings() -> dict[int, dict[str, Any]]:
    """Every setting by its id: its new key, its steps, and the names that leave the key."""
    settings = sa.table("ls_setting", sa.column("id"), sa.column("key"))
    found = {}
    query = sa.select(settings).order_by(settings.c.id)
    for number, key in op.get_bind().execute(query).all():
        told = json.loads(key)
        new = _respelled(told)
        found[number] = {
            "key": _canonical(new),
            "steps": new["steps"],
            "extractor": told["extractor"],
            "reference": told["reference"],
        }
    return found


def _merge(found: Mapping[int, Mapping[str, Any]]) -> None:
    """Stores the new keys; of settings whose keys are equal now, the first one stays."""
    connection = op.get_bind()
    names = ("id", "key", "digest", "steps", "extractor", "reference")
    settings = sa.table("ls_setting", *map(sa.column, names))
    first: dict[str, int] = {}
    for number, new in found.items():
        kept = first.setdefault(new["key"], number)
        if kept == number:
            continue
        for table in ("ls_study", "ls_schedule"):
            connection.execute(
                sa.text(f"UPDATE {table} SET setting_id = :kept WHERE setting_id = :number"),
                {"kept": kept, "number": number},
            )
        connection.execute(sa.delete(settings).where(settings.c.id == number))
    for number in first.values():
        digest = hashlib.sha256(found[number]["key"].encode()).hexdigest()
        connection.execute(
            sa.update(settings)
            .where(settings.c.id == number)
            .values(**found[number], digest=digest)
        )


def _respelled(told: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(told)
    for name in ("extractor", "reference"):
        _, mark, fingerprint = new[name].partition("@")
        new[name] = mark + fingerprint if mark else new[name]
    if new.get("guidance") == 1:
        del new["guidance"]
    grid = new.get("options", {}).get("grid")
    if new["framework"] in ("adm", "dit") and grid and "," in grid:
        new["steps"] = sum(int(count) for count in grid.split(","))
    return new


def _read_rows_anew(settings: Mapping[int, Mapping[str, Any]]) -> None:
    """Typed provenance, origin and content of every row."""
    connection = op.get_bind()
    rows = sa.table(
        "ls_schedule",
        *map(
            sa.column,
            "id content setting_id b k status verdict n fid fid_low fid_high baseline_fid "
            "baseline_low baseline_high gain gain_low gain_high gain_level origin_by "
            "origin_tool".split(),
        ),
        sa.column("lambdas", sa.JSON()),
        sa.column("provenance", sa.JSON()),
    )
    newest: dict[str, int] = {}
    for row in connection.execute(sa.select(rows).order_by(rows.c.id)).all():
        setting = settings[row.setting_id]
        provenance = _upgraded(row.provenance, row.gain)
        if row.status != "published":
            provenance = {
                "extractor": setting["extractor"],
                "reference": setting["reference"],
            } | provenance
        source = provenance.get("source")
        told = row.provenance.get("versions", {}).get("lambda-search")
        origin = {
            "by": f"the authors (arXiv:{source['arxiv']})" if source else "",
            "tool": f"lambda-search {told}" if told else "",
        }
        content = {
            "schedule": {"b": row.b, "k": row.k},
            "lambdas": list(row.lambdas),
            "status": row.status,
            "verdict": row.verdict,
            "n": row.n,
            "fid": row.fid,
            "fid_interval": _interval(row.fid_low, row.fid_high, 0.95),
            "baseline_fid": row.baseline_fid,
            "baseline_interval": _interval(row.baseline_low, row.baseline_high, 0.95),
            "gain": row.gain,
            "gain_interval": _interval(row.gain_low, row.gain_high, row.gain_level),
            "origin": origin,
            "setting": setting["key"],
            "provenance": provenance,
        }
        digest = hashlib.sha256(_canonical(content).encode()).hexdigest()
        if digest in newest:  # the same measurement, told twice: one row of it stays
            before = {"id": newest[digest]}
            connection.execute(
                sa.text("DELETE FROM ls_retraction WHERE schedule_id = :id"), before
            )
            connection.execute(sa.text("DELETE FROM ls_schedule WHERE id = :id"), before)
        newest[digest] = row.id
        connection.execute(
            sa.update(rows)
            .where(rows.c.id == row.id)
            .values(
                provenance=provenance,
                origin_by=origin["by"],
                origin_tool=origin["tool"],
                content=digest,
            )
        )


def _take_back() -> None:
    """Rows that were taken back by another status are retracted, and have theirs again."""
    op.execute(
        "INSERT INTO ls_retraction (schedule_id, reason, at) SELECT id, 'status ' || status, "
        "created FROM ls_schedule WHERE status NOT IN ('confirmed', 'published', 'measured')"
    )
    op.execute(
        "UPDATE ls_schedule SET status = CASE WHEN entry IS NULL THEN 'measured' ELSE 'published' "
        "END WHERE status NOT IN ('confirmed', 'published', 'measured')"
    )


def _interval(low: float | None, high: float | None, level: float | None) -> Any:
    return None if low is None else {"low": low, "high": high, "level": level}


def _upgraded(told: Mapping[str, Any], gain: float | None) -> dict[str, Any]:
    """Provenance of version 2: the candidate is named by its trial, the libraries have a place."""
    same = (
        "study framework checkpoint config seed confirm_indices baseline candidates also versions "
        "preview source".split()
    )
    new = {name: told[name] for name in same if told.get(name)} | (
        {"seed": told["seed"]} if told.get("seed") is not None else {}
    )
    if told.get("search_images"):
        new["rungs"] = told["search_images"]
    if "baseline" in new:
        new["baseline"] = _without_none(new["baseline"])
    if "candidates" in new:
        new["candidates"] = [_without_none(one) for one in new["candidates"]]
    if "also" in new:
        new["also"] = [
            one
            | {
                "baseline": _without_none(one["baseline"]),
                "candidates": [_without_none(each) for each in one["candidates"]],
            }
            for one in new["also"]
        ]
    identity = told.get("identity")
    if identity:
        known = ("seed", "device", "noise", "sampler_revision")
        new["identity"] = {name: identity[name] for name in known} | {
            "versions": {name: v for name, v in identity.items() if name not in known}
        }
    trials = [one["trial"] for one in told.get("candidates", ()) if one["gain"] == gain]
    if trials:
        new["trial"] = trials[0]
    return new | {"version": 2}


def _without_none(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

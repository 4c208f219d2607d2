"""A store of before contests: its rows get theirs, stand as they stood, and answer the same."""

import json
from datetime import UTC
from datetime import datetime

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy import text

from lambda_search.paths import store_url
from lambda_search.setting import SamplerOptions
from lambda_search.store.contests import contest_values
from lambda_search.store.contests import option_values
from lambda_search.store.lookup import best
from lambda_search.store.store import Store
from lambda_search.store.tables import ContestRow
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import SettingRow
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.store.test_store import row

ROWS = [
    row(setting(options=SamplerOptions(s_churn=0, batch=3, clip=True)), "a", fid=4.0),
    *(one for one in every_kind() if not one.levels),
]


def insert(connection, table, **values):
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


@pytest.fixture
def old(url):
    """A store of schema 0003 with rows of every kind."""
    engine = create_engine(store_url(url))
    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        models, settings = {}, {}
        for place, one in enumerate(ROWS, start=1):
            told = one.setting
            if (told.model, told.weights) not in models:
                models[told.model, told.weights] = place
                insert(
                    connection,
                    "ls_model",
                    id=place,
                    name=told.model,
                    weights=told.weights,
                    framework=told.framework,
                    created=one.created,
                )
            if told.digest not in settings:
                settings[told.digest] = place
                insert(
                    connection,
                    "ls_setting",
                    id=place,
                    key=told.key,
                    digest=told.digest,
                    model_id=models[told.model, told.weights],
                    sampler=told.sampler,
                    steps=told.steps,
                    extractor=told.extractor,
                    reference=told.reference,
                )
            ends = {
                f"{name}_{end}": None if interval is None else getattr(interval, end)
                for name, interval in (
                    ("fid", one.fid_interval),
                    ("baseline", one.baseline_interval),
                    ("gain", one.gain_interval),
                )
                for end in ("low", "high")
            }
            insert(
                connection,
                "ls_schedule",
                id=place,
                content=one.id,
                setting_id=settings[told.digest],
                trial=one.provenance.trial,
                entry="old/entry" if one.status == "published" else None,
                b=one.schedule.b,
                k=one.schedule.k,
                lambdas=json.dumps(one.lambdas),
                status=one.status,
                verdict=one.verdict,
                n=one.n,
                fid=one.fid,
                baseline_fid=one.baseline_fid,
                gain=one.gain,
                gain_level=one.gain_interval and one.gain_interval.level,
                provenance=json.dumps(one.provenance.to_json()),
                origin_by=one.origin.by,
                origin_tool=one.origin.tool,
                created=one.created,
                **ends,
            )
            if one.retraction is not None:
                insert(
                    connection,
                    "ls_retraction",
                    id=place,
                    schedule_id=place,
                    reason=one.retraction.reason,
                    at=one.retraction.at,
                )
        if engine.dialect.name == "postgresql":  # ids given by hand do not move the counters
            for table in ("ls_model", "ls_setting", "ls_schedule", "ls_retraction"):
                connection.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 100)")
                )
    return url


def test_an_old_store_is_what_a_new_one_would_be(old, tmp_path):
    store, new = Store(old), Store(f"{tmp_path}/new.db")
    new.add(ROWS)
    for one in ROWS:
        assert store.row(one.id) == (one if one.status != "published" else store.row(one.id))
        assert store.instead_of(one.id) == new.instead_of(one.id)

    def derived(session):
        query = session.query(ScheduleRow, ContestRow, SettingRow)
        query = query.join(ContestRow, ContestRow.id == ScheduleRow.contest_id)
        query = query.join(SettingRow, SettingRow.id == ScheduleRow.setting_id)
        contest = {name: getattr(ContestRow, name) for name in contest_values(ROWS[0])}
        return {
            one.content: (
                (one.grade, one.score, one.fewer, one.stands, its.options),
                {name: getattr(there, name) for name in contest},
            )
            for one, there, its in query
        }

    migrated, made = store.read(derived), new.read(derived)
    assert migrated == made
    for one in ROWS:
        (*_, options), contest = migrated[one.id]
        assert options == option_values(one.setting) and contest == contest_values(one)
    assert best("m", 4, "euler", store, batch=3).id == ROWS[0].id
    entered = datetime(2026, 11, 23, tzinfo=UTC)
    assert store.row(ROWS[-1].id).created == entered, "the catalogue's rows have its date"

"""A new store has the very tables that the migrations make of an empty database."""

import subprocess
import sys

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text

from lambda_search.errors import LambdaSearchError
from lambda_search.paths import store_url
from lambda_search.store.engine import VERSION_TABLE
from lambda_search.store.store import Store


def migrated(url):
    engine = create_engine(store_url(url))
    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return engine


def described(engine):
    """All of its tables, but what a column is when nothing is said: a store says everything."""
    found = inspect(engine)

    def ordered(parts):
        return sorted(str(sorted(one.items(), key=str)) for one in parts)

    with engine.connect() as connection:
        version = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    tables = {
        name: {
            "columns": {
                one["name"]: (str(one["type"]), one["nullable"]) for one in found.get_columns(name)
            },
            "key": found.get_pk_constraint(name),
            "foreign": ordered(found.get_foreign_keys(name)),
            "unique": ordered(found.get_unique_constraints(name)),
            "checks": ordered(found.get_check_constraints(name)),
            "indexes": ordered(found.get_indexes(name)),
        }
        for name in found.get_table_names()
    }
    return version, tables


def test_new_tables_are_those_of_the_migrations(url, tmp_path, request):
    if url.startswith("sqlite"):
        other = f"sqlite:///{tmp_path}/other.db"
    else:
        other = request.getfixturevalue("postgres").new_database()
    Store(url).close()
    made, grown = described(create_engine(store_url(url))), described(migrated(other))
    assert len(made[1]) > 10
    assert made == grown


def test_what_lies_in_its_place_is_not_taken_for_it(url):
    """Tables of our names without a version are somebody's, or a wreck."""
    with create_engine(store_url(url)).begin() as connection:
        connection.execute(text("CREATE TABLE ls_study (mine INTEGER)"))
    with pytest.raises(LambdaSearchError, match="ls_study"):
        Store(url)
    assert inspect(create_engine(store_url(url))).get_table_names() == ["ls_study"]


OPENS = """
import sys
from lambda_search.store.store import Store
sys.stdin.readline()
Store(sys.argv[1]).close()
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_thirty_two_processes_open_an_empty_database_at_once(url, databases, tmp_path):
    opening = [
        subprocess.Popen([sys.executable, "-c", OPENS, url], stdin=subprocess.PIPE)
        for _ in range(32)
    ]
    for process in opening:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(120) for process in opening] == [0] * 32
    alone = databases.new(tmp_path)
    Store(alone).close()
    found, wanted = (create_engine(store_url(one)) for one in (url, alone))
    assert described(found) == described(wanted)
    counts = Store(url).counts()
    assert counts == Store(alone).counts() and counts["rows"] > 0
    for engine in (found, wanted):
        engine.dispose()
    databases.drop(alone)

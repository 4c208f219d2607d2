"""Driving the queue: files that travel, what is missing here, stops, takeovers, other drivers."""

import shutil
import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from fsspec.implementations.memory import MemoryFileSystem
from sqlalchemy import select

import lambda_search.drive as driving
import lambda_search.launching as launching
from lambda_search import studies
from lambda_search.drive import drive
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import PoolLost
from lambda_search.launching import launch
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.paths import features_folder
from lambda_search.search.run import Run
from lambda_search.spec import Written
from lambda_search.spec import parse_specs
from lambda_search.store import leases
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.tables import ModelRow
from lambda_search.work.pool import SerialPool
from lambda_search.work.tasks import SampleShard
from tests.search.running import Halting
from tests.search.running import record


def test_as_many_studies_run_as_fill_the_workers():
    counts = [driving.side_by_side(workers) for workers in (1, 8, 15, 256, 1000, 5000)]
    assert counts == [2, 9, 16, 32, 64, 64]


@pytest.fixture
def store():
    opened = Store()
    yield opened
    opened.close()


@pytest.fixture
def short(study_text):
    """A study that runs in a second or two."""
    return study_text.replace("trials: 7", "trials: 4").replace("samples: 80", "samples: 32")


class Slow(SerialPool):
    """Takes a while for each shard, so that something can happen in between."""

    def __init__(self, seconds=0.2):
        super().__init__()
        self.seconds, self.shards = seconds, 0

    def submit(self, task, *arguments, **options):
        if isinstance(task, SampleShard):
            self.shards += 1
            time.sleep(self.seconds)
        return super().submit(task, *arguments, **options)


def queue_file(tmp_path, text, name="study.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_driver_on_another_host_goes_on_from_a_shared_place(short, tmp_path, monkeypatch):
    """Features lie where both see them; each has a data folder of its own."""
    url = f"memory:/{tmp_path}/shared"
    whole, first, second = Halting(), Halting(9), Halting()
    expected = Store(f"{tmp_path}/expected.db")
    run_studies(plans_of(parse_specs(short)), expected, whole)
    shared = Store(f"{tmp_path}/shared.db")
    studies.submit(queue_file(tmp_path, short), shared)
    assert drive(shared, first, features=url).errors
    monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path / "another host"))
    monkeypatch.setenv("LAMBDA_SEARCH_FEATURES", url)
    studies.resume("tiny", shared)
    assert not drive(shared, second).errors
    assert len(first.done) == 9 and Counter(first.done + second.done) == Counter(whole.done)
    assert record(shared) == record(expected)
    assert MemoryFileSystem().find(url) == [] and not features_folder().exists()


def test_a_queued_study_ends_in_the_row_of_a_launch(store, short, tmp_path):
    studies.submit(queue_file(tmp_path, short), store)
    driven = drive(store, SerialPool())
    other = Store(f"{tmp_path}/other.db")
    run_studies(plans_of(parse_specs(short)), other, SerialPool())
    assert record(store) == record(other)
    assert driven.rows["tiny"].id == other.rows(other.study("tiny").id)[0].id
    assert drive(store, SerialPool()).rows == {}, "the queue is empty"


def test_several_studies_run_on_one_pool(store, short, tmp_path):
    for number in range(3):
        path = queue_file(tmp_path, short.replace("name: tiny", f"name: tiny-{number}"))
        studies.submit(path, store)
    driven = drive(store, SerialPool(), at_once=2)
    assert sorted(driven.rows) == ["tiny-0", "tiny-1", "tiny-2"]
    assert len({row.fid for row in driven.rows.values()}) == 1
    assert all(study.state == "done" for study in store.studies())


def test_more_studies_run_side_by_side_as_more_workers_come(store, short, tmp_path):
    for number in range(4):
        path = queue_file(tmp_path, short.replace("name: tiny", f"name: tiny-{number}"))
        studies.submit(path, store)
    seen, go = [], threading.Event()

    class Growing(SerialPool):
        workers = 1

        def kinds(self):
            return dict.fromkeys(super().kinds(), self.workers)

        def submit(self, *given, **named):
            go.wait(20)
            return super().submit(*given, **named)

    pool = Growing()

    def watch(told):
        seen.append((pool.workers, len(told)))
        if seen.count((1, 2)) == 5:  # nobody takes a third one
            pool.workers = 8
        if len(told) == 4:
            go.set()

    assert len(drive(store, pool, at_once=None, watch=watch).rows) == 4
    assert max(seen) == (8, 4) and max(told for workers, told in seen if workers == 1) == 2


def test_relative_names_are_looked_up_where_it_is_driven(store, short, tiny_pipeline, tmp_path):
    document = yaml.safe_load(short)
    document["model"]["checkpoint"] = "pipelines/tiny"
    folder = tmp_path / "submitting"
    folder.mkdir()
    studies.submit(queue_file(folder, yaml.safe_dump(document)), store)
    driven = drive(store, SerialPool())
    assert "pipelines/tiny" in driven.unable["tiny"]
    waiting = store.study("tiny")
    assert waiting.state == "queued" and "pipelines/tiny" in waiting.message
    assert [one.outcome for one in waiting.attempts] == ["unable"]
    models = tmp_path / "models"
    shutil.copytree(tiny_pipeline, models / "pipelines" / "tiny")
    driven = drive(store, SerialPool(), folders=[models])
    assert driven.rows["tiny"].setting.model == "tiny" and driven.unable == {}
    assert driven.rows["tiny"].provenance.checkpoint == str(models / "pipelines" / "tiny")


def test_a_row_names_what_came_with_a_job_as_its_study_does(
    store, short, tiny_pipeline, tmp_path, monkeypatch
):
    monkeypatch.setenv("LAMBDA_SEARCH_LUGGAGE", "1")
    document = yaml.safe_load(short)
    document["model"]["checkpoint"] = "weights/tiny"
    shutil.copytree(tiny_pipeline, tmp_path / "weights" / "tiny")
    studies.submit(queue_file(tmp_path, yaml.safe_dump(document)), store)
    row = drive(store, SerialPool()).rows["tiny"]
    assert row.provenance.checkpoint == "weights/tiny"


def test_config_and_prompt_files_travel_with_the_study(store, tmp_path):
    from lambda_search.spec import located
    from lambda_search.spec import unpacked

    folder = tmp_path / "submitting"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "model.yaml").write_text("prompts: prompts.txt\nvae: vaes/one\n")
    (folder / "configs" / "prompts.txt").write_text("a cat\n")
    text = (
        "name: s\nmodel: {framework: diffusers, checkpoint: x/y, config: configs/model.yaml}\n"
        "sampler: {name: ddim, steps: 4}\nmetric: {extractor: bundled, reference: r.npz}\n"
    )
    studies.submit(queue_file(folder, text), store)
    shutil.rmtree(folder)
    claim = Queue(store).claim()
    assert claim.files["configs/model.yaml"].startswith(b"prompts:")
    here = tmp_path / "driving"
    (here / "vaes" / "one").mkdir(parents=True)
    [spec] = parse_specs(claim.study.spec)
    found = located(spec, [here], unpacked(claim.files, tmp_path / "unpacked"))
    assert Path(found.model.config["prompts"]).read_text() == "a cat\n"
    assert found.model.config["vae"] == str(here / "vaes" / "one")
    claim.lease.forget()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.yml", "!!python/object:argparse.Namespace\nmodel: !!python/tuple [1, 2]\n"),
        ("a.json", "model: [1, 2]\n"),
        ("a.yaml", '{"model": [1, 2]}'),
    ],
)
def test_a_config_that_travels_is_read_as_one_that_does_not(store, name, content, tmp_path):
    from lambda_search.models.checkpoints import read_config
    from lambda_search.spec import located
    from lambda_search.spec import unpacked

    text = (
        f"name: s\nmodel: {{framework: ddim, checkpoint: x.pth, config: {name}}}\n"
        "sampler: {name: ddim, steps: 4}\nmetric: {extractor: bundled, reference: r.npz}\n"
    )
    (tmp_path / name).write_text(content)
    studies.submit(queue_file(tmp_path, text), store)
    claim = Queue(store).claim()
    [spec] = parse_specs(claim.study.spec)
    found = located(spec, [], unpacked(claim.files, tmp_path / "unpacked"))
    assert found.model.config == read_config(tmp_path / name) == {"model": [1, 2]}
    claim.lease.forget()


def test_what_fails_is_queued_again_with_its_reason_kept(store, short, monkeypatch):
    class Broken(SerialPool):
        def submit(self, task, *arguments, **options):
            if isinstance(task, SampleShard):
                raise LambdaSearchError("The GPU fell off the bus.", "Put it back.")
            return super().submit(task, *arguments, **options)

    [spec] = parse_specs(short)
    studies.submit(spec, store)
    driven = drive(store, Broken())
    assert "fell off the bus" in str(driven.errors["tiny"])
    assert store.study("tiny").state == "failed"
    assert drive(store, SerialPool()).rows == {}, "it is not tried again by itself"
    studies.resume("tiny", store)
    assert "tiny" in drive(store, SerialPool()).rows
    attempts = store.study("tiny").attempts
    assert [one.outcome for one in attempts] == ["failed", "done"]
    assert "fell off the bus" in attempts[0].reason


class Losing(SerialPool):
    """Is lost after so many shards, as a cluster whose head node dies."""

    def __init__(self, shards):
        super().__init__()
        self.left = shards

    def check(self):
        if self.left <= 0:
            raise PoolLost("The head node is lost.", "Take another cluster.")

    def submit(self, task, *arguments, **options):
        future = super().submit(task, *arguments, **options)
        self.left -= isinstance(task, SampleShard)
        if self.left > 0:
            return future
        lost = Future()
        lost.set_exception(PoolLost("The head node is lost.", "Take another cluster."))
        return lost


@pytest.mark.parametrize("leave", ["queued", pytest.param("stopped", marks=pytest.mark.slow)])
def test_a_lost_pool_is_one_error_and_its_studies_wait_for_the_next(store, short, leave, tmp_path):
    both = parse_specs(short.replace("steps: 4", "steps: [3, 4]"))
    whole = Store(f"{tmp_path}/whole.db")
    run_studies(plans_of(both), whole, SerialPool())
    studies.submit(both, store)
    with pytest.raises(PoolLost, match="head node is lost") as caught:
        drive(store, Losing(5), leave=leave)
    assert not getattr(caught.value, "__notes__", [])
    assert {one.state for one in store.studies()} <= {"queued", leave}
    assert {one.outcome for study in store.studies() for one in study.attempts} == {"stopped"}
    rows = run_studies(plans_of(both), store, SerialPool())
    assert [row.setting.steps for row in rows] == [3, 4]
    for name in ("tiny-3", "tiny-4"):
        assert record(store, name) == record(whole, name)


def test_a_stop_is_heeded_and_the_study_goes_on_later(store, short, monkeypatch):
    monkeypatch.setattr(driving, "_LOOK_SECONDS", 0.1)
    [spec] = parse_specs(short)
    studies.submit(spec, store)
    pool = Slow()
    driver = threading.Thread(target=drive, args=(store, pool))
    driver.start()
    while pool.shards < 3:
        time.sleep(0.05)
    studies.stop("tiny", store)
    driver.join(30)
    assert not driver.is_alive()
    assert store.study("tiny").state == "stopped"
    assert store.study("tiny").attempts[-1].outcome == "stopped"
    studies.resume("tiny", store)
    row = drive(store, SerialPool()).rows["tiny"]
    other = Store(f"{store.url.removeprefix('sqlite:///')}.other")
    assert run_studies(plans_of(parse_specs(short)), other, SerialPool())[0].id == row.id


def test_leases_are_renewed_while_further_studies_are_taken(store, short, tmp_path, monkeypatch):
    for number in range(3):
        studies.submit(queue_file(tmp_path, short.replace("tiny", f"tiny-{number}", 1)), store)
    said, ended = [], threading.Event()

    def listen(name, real):
        def told(self, *arguments):
            said.append(name)
            return real(self, *arguments)

        monkeypatch.setattr(Queue, name, told)

    listen("claim", Queue.claim)
    listen("keep_up", Queue.keep_up)

    def drive_on(self):
        ended.wait(60)
        raise Interrupted("It was ended.")

    def watch(active):
        if len(active) == 3:
            ended.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_drive", drive_on)
    monkeypatch.setattr(driving, "_RENEW_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        drive(store, SerialPool(), at_once=3, watch=watch)
    first, second, third = (place for place, word in enumerate(said) if word == "claim")
    assert "keep_up" in said[first:second] and "keep_up" in said[second:third]


def test_a_lost_lease_ends_the_work_at_once(store, short, monkeypatch):
    monkeypatch.setattr(driving, "_RENEW_SECONDS", 0.2)
    [spec] = parse_specs(short)
    studies.submit(spec, store)
    pool, ended = Slow(), []
    driver = threading.Thread(target=lambda: ended.append(drive(store, pool)))
    driver.start()
    while pool.shards < 3:
        time.sleep(0.05)
    monkeypatch.setattr(leases, "is_abandoned", lambda study, clock: True)
    claim = Queue(store).claim()
    monkeypatch.undo()
    driver.join(30)
    assert "taken this study over" in str(ended[0].errors["tiny"])
    before = pool.shards
    time.sleep(0.5)
    assert pool.shards == before
    assert store.study("tiny").fence == claim.lease.fence
    claim.lease.forget()


def test_what_is_held_elsewhere_is_named_and_the_others_run(store, short):
    [spec] = parse_specs(short)
    other = spec.model_copy(update={"name": "other"})
    studies.submit(spec, store)
    claim = Queue(store).claim(["tiny"])
    with pytest.raises(LambdaSearchError, match="'tiny' is being driven by process"):
        run_studies(plans_of([spec, other]), store, SerialPool())
    assert (store.study("tiny").state, store.study("other").state) == ("running", "done")
    with pytest.raises(LambdaSearchError, match="'tiny' is being driven by process"):
        launch(spec, workers=1)  # and no Ray is started for it
    claim.lease.forget()


def test_an_interrupted_driver_gives_its_studies_back(store, short):
    [spec] = parse_specs(short)
    studies.submit(spec, store)
    pool = Slow()

    def watch(_):
        if pool.shards > 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="Nothing that was computed is lost"):
        drive(store, pool, watch=watch)
    assert store.study("tiny").state == "queued"
    assert "tiny" in drive(store, SerialPool()).rows


def test_what_happens_is_heard_and_kept(store, short):
    heard, seen = [], []
    [spec] = parse_specs(short)
    studies.submit(spec, store)
    drive(store, SerialPool(), watch=seen.append, listeners=[heard.append])
    kept = store.events("tiny")
    assert [(one.kind, one.text) for one in kept[1:]] == [(one.kind, one.text) for one in heard]
    assert kept[0].kind == "queued" and [one.number for one in kept] == sorted(
        one.number for one in kept
    )
    assert seen[-1][0].study == "tiny" and seen[-1][0].phase == "done"
    assert store.study("tiny").progress.trials_done == 4


def test_a_finished_study_is_known_by_what_decides_its_numbers(
    store, short, tiny_pipeline, tmp_path
):
    run_studies(plans_of(parse_specs(short)), store, SerialPool())
    moved = tmp_path / "elsewhere" / "pipeline"
    shutil.copytree(tiny_pipeline, moved)
    labelled = short.replace('"}', '", dataset: mine}').replace(str(tiny_pipeline), str(moved))
    assert labelled != short
    pool = Slow(0)
    for text in (labelled, short.replace("seed: 3", "seed: 0x3")):
        [row] = run_studies(plans_of(parse_specs(text)), store, pool)
        assert row == store.rows(store.study("tiny").id)[-1]
    studies.submit(parse_specs(labelled), store)
    assert "tiny" in drive(store, pool).rows
    assert pool.shards == 0 and len(store.rows(store.study("tiny").id)) == 1
    run_studies(plans_of(parse_specs(short.replace("samples: 32", "samples: 48"))), store, pool)
    assert len(store.rows(store.study("tiny").id)) == 2


def test_waiting_says_how_to_drive_and_tells_of_a_lost_driver(store, short, monkeypatch):
    [spec] = parse_specs(short)
    assert not studies.nobody_drives(store)
    studies.submit(spec, store)
    assert studies.nobody_drives(store)
    claim = Queue(store).claim()
    assert not studies.nobody_drives(store)
    claim.lease.drop()
    monkeypatch.setattr(studies, "_TAKEOVER_SECONDS", 0.0)
    with pytest.raises(LambdaSearchError, match="has no driver any more"):
        studies.wait("tiny", store)
    drive(store, SerialPool())
    assert studies.wait("tiny", store).provenance.study == "tiny"


@pytest.mark.parametrize("on_hub", [True, False])
def test_a_models_row_says_where_it_came_from(
    on_hub, store, short, tiny_pipeline, tmp_path, monkeypatch
):
    text = short
    if on_hub:
        cache = tmp_path / "hub"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        repository, newest = cache / "models--owner--tiny", "1" * 40
        shutil.copytree(tiny_pipeline, repository / "snapshots" / newest)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(newest)
        text = short.replace(str(tiny_pipeline), "owner/tiny")
    run_studies(plans_of(parse_specs(text)), store, SerialPool())
    query = select(ModelRow).where(ModelRow.name == "tiny")
    told = store.read(
        lambda session: [(m.hub, m.revision, m.file) for m in session.scalars(query)]
    )
    assert told == [("owner/tiny", "1" * 40, None) if on_hub else (None, None, tiny_pipeline.name)]


def test_a_launch_names_a_study_that_it_did_not_run(store, short):
    """Somebody takes it out of the queue, or has it, before the launch comes to it."""
    [spec] = parse_specs(short)
    other = spec.model_copy(update={"name": "other"})
    plans = plans_of([spec, other])

    launched = launching.Launch(
        ["tiny", "other"],
        [Written(one, Path.cwd()) for one in (spec, other)],
        dict(zip(["tiny", "other"], plans, strict=True)),
        {},
        {},
    )
    studies.submit([spec, other], store)
    studies.stop("other", store)
    driven = drive(store, SerialPool(), names=["tiny", "other"])
    with pytest.raises(LambdaSearchError, match="'other' was not run here") as caught:
        launched.rows_of(driven)
    assert "status other" in caught.value.hint and "tiny" in driven.rows

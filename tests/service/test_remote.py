"""The same words from afar: what a service answers is what its store answers."""

import json
import shlex
import threading
import time
import urllib.error
from contextlib import contextmanager

import pytest

import lambda_search as ls
from lambda_search import studies
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.records import Event
from lambda_search.remote import COMMANDS
from lambda_search.remote import PatientService
from lambda_search.remote.connection import Connection
from lambda_search.remote.connection import ServiceAway
from lambda_search.store import lookup
from lambda_search.store.clock import now
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.report.studies import simulate
from tests.service.conftest import TOKEN
from tests.service.processes import Served
from tests.store.test_store import row
from tests.test_shell import printed_in_readme

SPEC = """
name: my-study
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist", config: c.yaml}
sampler: {name: ancestral, steps: [4, 5]}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('served')}/s.db"


@pytest.fixture(scope="module")
def served(url):
    store = Store(url)
    store.add(every_kind())
    with Served(url) as one:
        yield one
    store.close()


@pytest.fixture
def store(url):
    opened = Store(url)
    yield opened
    opened.close()


@pytest.fixture
def afar(served, monkeypatch):
    """The service's address, with its token known."""
    monkeypatch.setenv("LAMBDA_SEARCH_TOKEN", TOKEN)
    return served.address


@pytest.mark.parametrize("line", [line for line in printed_in_readme() if "--store http" in line])
def test_the_readmes_lines_for_a_service_do_as_they_say(line, afar, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-study.yaml").write_text(SPEC.replace("my-study", "as-printed"))
    (tmp_path / "c.yaml").write_text("steps: 5")
    _, *words = shlex.split(line.replace("http://127.0.0.1:8000", afar), comments=True)
    code, out, err = cli(*words)
    assert code == 0, err
    assert "λ(i)" in out if "best" in words else "as-printed" in out + err


def test_python_looks_up(store, afar):
    for model, asked in (
        ("adm-cifar10", {"steps": 20}),
        ("edm-cifar10-uncond", {"nfe": 13, "sampler": "heun"}),
        ("m", {"steps": 4, "sampler": "euler", "s_churn": 0.0, "guidance": None}),
        ("m", {"steps": 4, "guidance": 1.5}),
    ):
        try:
            expected = ls.best(model, store=store, **asked)
        except LambdaSearchError as error:
            with pytest.raises(type(error)) as told:
                ls.best(model, store=afar, **asked)
            assert told.value.cause == error.cause
            continue
        assert ls.best(model, store=afar, **asked) == expected
        assert lookup.matches(model, store=afar, **asked) == lookup.matches(
            model, store=store, **asked
        )
        assert lookup.how_many(model, store=afar, **asked) == lookup.how_many(
            model, store=store, **asked
        )
    assert ls.nearest("adm-cifar10", 21, store=afar) == ls.nearest("adm-cifar10", 21, store=store)
    assert lookup.listed("m", store=afar) == lookup.listed("m", store=store)
    for one in store.all_rows():
        assert ls.row(one.id[:20], store=afar) == one
    with pytest.raises(ls.NoScheduleFound, match="adm-cifar10"):
        ls.best("adm-cifar1", 20, store=afar)
    with pytest.raises(ls.UsageError, match="no field"):
        ls.best("m", 4, store=afar, nothing=1)


def test_the_shell_says_the_same(cli, url, afar):
    for words in (
        ("best", "adm-cifar10", "--steps", "20"),
        ("best", "adm-cifar10", "--steps", "20", "--constant"),
        ("best", "adm-cifar10", "--steps", "21", "--nearest"),
        ("best", "adm-cifar10", "--steps", "21"),
        ("best", "adm-cifar10"),
        ("best", "nobody", "--steps", "2"),
        ("rows", "881eef3622cd"),
        ("rows", "zz"),
        ("status", "nobody"),
        ("status",),
        ("export", "adm-cifar10"),
        ("export", "--format", "csv"),
    ):
        for more in ((), ("--json",)) if words[0] != "export" else ((),):
            here = cli(*words, *more, "--store", url)
            there = cli(*words, *more, "--store", afar)
            assert there[:2] == here[:2], words
            first = [line.replace(url, afar) for line in here[2].splitlines()[:1]]
            assert there[2].splitlines()[:1] == first, words


def test_rows_travel(cli, store, afar, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert cli("export", "--to", tmp_path / "there.json", "--store", afar)[0] == 0
    ls.export_rows(tmp_path / "here.json", store)
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()
    code, out, _ = cli("db", "import", tmp_path / "here.json", "--store", afar, "--json")
    assert code == 0 and json.loads(out)["new"] == 0 and json.loads(out)["doubles"] > 10
    code, out, _ = cli(
        "db", "import", f"{afar}/v1/rows?format=csv", "--store", tmp_path / "new.db", "--json"
    )
    assert code == 0 and json.loads(out)["new"] > 0


def test_studies_are_queued_stopped_and_queued_again(cli, store, afar, tmp_path):
    path = tmp_path / "my-study.yaml"
    path.write_text(SPEC)
    (tmp_path / "c.yaml").write_text("prompts: p.txt")
    (tmp_path / "p.txt").write_text("a cat")
    code, out, told = cli("submit", path, "--store", afar, "--json")
    assert code == 0, told
    assert [one["state"] for one in json.loads(out)] == ["queued", "queued"]
    claim = Queue(store).claim(["my-study-4"])
    assert claim.files == {"c.yaml": b"prompts: p.txt", "p.txt": b"a cat"}
    assert claim.study.door == "service" and claim.study.base == ""
    Queue(store).end(claim.lease, "queued", "stopped")
    assert "my-study-4" in cli("status", "--store", afar)[1]
    assert "waits for a driver" in cli("status", "my-study-4", "--store", afar)[1]
    assert cli("stop", "my-study-4", "--store", afar)[1] == "my-study-4  stopped\n"
    assert cli("stop", "my-study-4", "--store", afar)[0] == 2
    assert cli("wait", "my-study-4", "--store", afar)[0] == 1
    assert cli("resume", "my-study-4", "--store", afar)[1] == "my-study-4  queued\n"
    assert [one.name for one in ls.submit(path, store=afar)] == ["my-study-4", "my-study-5"]


def test_a_study_is_confirmed_again_from_afar(cli, store, afar):
    simulate(store, "hill", model="hill")
    code, out, _ = cli("confirm", "hill", "--top", 1, "--store", afar)
    assert (code, out) == (0, "hill  queued\n")
    assert store.study("hill").proof_wanted["top"] == 1
    assert cli("stop", "hill", "--store", afar)[0] == 0
    row = store.rows(store.study("hill").id)[-1]
    driver = threading.Thread(target=_fails_once, args=(store,))
    driver.start()
    with pytest.raises(ls.LambdaSearchError, match="was not made: No room"):
        ls.confirm("hill", store=afar, samples=4096)
    driver.join(30)
    assert store.study("hill").state == "done"
    assert store.rows(store.study("hill").id)[-1] == row


def _fails_once(store):
    """A driver that takes a study and cannot finish it."""
    for _ in range(600):
        if claim := Queue(store).claim(["hill"]):
            Queue(store).end(claim.lease, "failed", "failed", "No room")
            return
        time.sleep(0.05)


def test_who_waits_gets_the_row(cli, store, afar):
    waited = {}

    def wait():
        waited["row"] = studies.wait("valley", afar)

    simulate(store, "valley")
    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(30)
    assert waited["row"] == store.rows(store.study("valley").id)[-1]
    assert cli("wait", "valley", "--store", afar)[0] == 0


def test_without_the_token_it_is_said_what_is_lacking(cli, served, tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    code, _, told = cli("submit", tmp_path / "s.yaml", "--store", served.address)
    assert code == 2 and "LAMBDA_SEARCH_TOKEN" in told


def test_what_cannot_be_asked_says_what_can(cli, afar, tmp_path):
    for words in (
        ("retract", "x", "--reason", "y"),
        ("rename", "a", "b"),
        ("remove", "a", "--yes"),
        ("report", "a"),
        ("dashboard",),
        ("export", "--format", "optuna", "--to", f"sqlite:///{tmp_path}/o.db"),
        ("drive", "--until-empty"),
        ("serve",),
    ):
        code, _, told = cli(*words, "--store", afar)
        assert code == 2 and COMMANDS in " ".join(told.split()), words


def test_what_a_service_says_tells_nothing_of_its_machine(served, url):
    for path in ("/v1/studies/nobody", "/v1/schedules/best?model=nobody&steps=1", "/v1/rows/zz"):
        with pytest.raises(urllib.error.HTTPError) as told:
            served.get(path)
        said = told.value.read().decode()
        assert url not in said and "--store" not in said and "/bin/" not in said
    with pytest.raises(urllib.error.HTTPError) as told:
        served.get("/v1/schedules/best?model=nobody&steps=1")
    assert "lambda-search launch" in told.value.read().decode()


def test_what_is_no_service_is_told(cli, monkeypatch):
    for address in ("http://127.0.0.1:1", "http://", "http://u:hush@127.0.0.1:1", "http://h?x=1"):
        code, _, told = cli("best", "m", "--steps", "1", "--store", address)
        assert code in (1, 2) and "error" in told and "hush" not in told
    code, _, told = cli("--offline", "best", "m", "--steps", "1", "--store", "http://h.example")
    assert code == 2 and "network" in told


def test_long_files_of_rows_are_sent_in_pieces(store, afar, tmp_path, monkeypatch):
    rows = [
        row(setting(model=f"sent-{number // 10}", weights=f"{number:064x}"))
        for number in range(40)
    ]
    origin = Store(f"sqlite:///{tmp_path}/o.db")
    origin.add(rows)
    ls.export_rows(tmp_path / "rows.json", origin, [f"sent-{one}" for one in range(4)])
    origin.close()
    sizes, asked = [], Connection.json

    def watched(self, path, words=None, body=None, method=None):
        if path == "/v1/rows":
            sizes.append(len(body))
            if len(sizes) == fails:
                raise UsageError("It broke.", "Mend it.")
        return asked(self, path, words, body, method)

    monkeypatch.setattr("lambda_search.remote.service.Service.json", watched)
    monkeypatch.setattr("lambda_search.exchange.reading._SENT_BYTES", 20_000)
    fails = 2
    with pytest.raises(UsageError, match="rows are there, the others are not") as told:
        ls.import_rows(tmp_path / "rows.json", afar)
    there = {one.id for one in store.all_rows()} & {one.id for one in rows}
    assert f"first {len(there)} of 40" in told.value.cause and 0 < len(there) < 40
    sizes.clear()
    fails = None
    found = ls.import_rows(tmp_path / "rows.json", afar)
    assert (found.new, found.doubles) == (40 - len(there), len(there))
    assert len(sizes) > 2 and max(sizes) < 21_000
    assert {one.id for one in rows} <= {one.id for one in store.all_rows()}


@pytest.mark.slow
def test_who_waits_asks_little_and_goes_on_when_the_service_was_away(tmp_path, monkeypatch):
    monkeypatch.setattr("lambda_search.remote.patience._PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(studies, "_POLL_SECONDS_AFAR", 0.1)
    url, told, waited = f"sqlite:///{tmp_path}/s.db", [], []
    store = Store(url)
    claim = simulate(store, "valley", until="search")
    store.say_all([Event("valley", "note", "x" * 900 + str(one), now()) for one in range(200)])
    with Served(url) as served:
        whole = served.get("/v1/studies/valley?events=1000")
        assert len(json.loads(whole)["events"]) > 200
        assert len(json.loads(served.get("/v1/studies/valley"))["events"]) == 100
        sizes, read = [], PatientService.answer
        port = served.port

        @contextmanager
        def measured(self, *asked):
            with read(self, *asked) as answer:
                sizes.append(int(answer.headers["content-length"]))
                yield answer

        monkeypatch.setattr(PatientService, "answer", measured)
        thread = threading.Thread(
            target=lambda: waited.append(studies.wait("valley", served.address, told.append)),
            daemon=True,
        )
        thread.start()
        _until(lambda: sizes)
        assert served.end()[0] == 0
        _until(lambda: told)
    Queue(store).end(claim.lease, "queued", "stopped")
    simulate(store, "valley")
    with Served(url, port=port):
        thread.join(30)
    assert waited == [store.rows(store.study("valley").id)[-1]]
    assert len(told) == 1 and "is asked again" in told[0]
    assert max(sizes) < 10_000 < len(whole)
    store.close()


def test_a_service_that_never_answered_is_not_waited_for():
    with pytest.raises(ServiceAway, match="cannot be reached"):
        studies.wait("valley", "http://127.0.0.1:1")


def _until(done):
    until = time.monotonic() + 30
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)

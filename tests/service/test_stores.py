"""The service's store, when it is replaced, away, or hangs."""

import threading
import time

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.service import stores as module
from lambda_search.service.answers import Answer
from lambda_search.service.answers import Answers
from lambda_search.service.stores import Stores
from lambda_search.store.engine import StoreAway
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.test_access import SPEC


def names(client):
    """The studies that the dashboard has."""
    told = client.get("/api/studies")
    assert told.status_code == 200, told.text
    return [one["study_name"] for one in told.json()["study_summaries"]]


def test_the_dashboard_goes_on_with_a_store_that_was_replaced(serve, tmp_path):
    for name in ("one", "two"):
        store = Store(f"sqlite:///{tmp_path}/{name}.db")
        Queue(store).submit(name, SPEC.replace("name: s", f"name: {name}"))
        store.close()
    client = serve(f"sqlite:///{tmp_path}/one.db")
    assert names(client) == ["one"]
    (tmp_path / "two.db").replace(tmp_path / "one.db")
    assert names(client) == ["two"]
    (tmp_path / "one.db").unlink()
    (tmp_path / "one.db").write_text("this is no database, and long enough to be told from one")
    for path in ("/api/studies", "/dashboard", "/v1/studies"):
        away = client.get(path)
        assert away.status_code == 503, path
        assert away.headers["content-type"] == "application/problem+json"
        assert away.json()["code"] == "store-away" and away.headers["retry-after"]


def test_a_failure_is_remembered_shortly(monkeypatch):
    asked = []

    def hangs(url):
        asked.append(url)
        time.sleep(0.3)
        raise LambdaSearchError("It hangs.", "Wait.")

    monkeypatch.setattr(module, "Store", hangs)
    monkeypatch.setattr(module, "_REMEMBERED_SECONDS", 0.5)
    stores, failed, began = Stores("x"), [], time.monotonic()

    def ask():
        with pytest.raises(StoreAway, match="It hangs"):
            stores()
        failed.append(time.monotonic() - began)

    several = [threading.Thread(target=ask) for _ in range(10)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert len(failed) == 10 and max(failed) < 1.5 and len(asked) == 1
    time.sleep(0.6)
    ask()
    assert len(asked) == 2
    monkeypatch.setattr(module, "Store", lambda url: url)
    ask()
    time.sleep(0.6)
    assert stores() == "x"


def test_answers_that_are_kept_have_an_end():
    answers, version = Answers(Stores("x")), (1, 1)
    answers._version = version
    large = Answer(b"x" * (1 << 18), '"x"')
    questions = [f"model=x&steps={number}".encode() for number in range(1000)]
    for question in [*questions, *questions[-3:]]:
        answers.keep(question, large, version)
    kept = [question for question in questions if answers.get(question)]
    assert kept == questions[-len(kept) :]
    assert 60 << 20 < len(kept) * (1 << 18) <= 64 << 20
    answers.keep(b"a=" + b"x" * 60_000, Answer(b"", ""), version)
    assert answers.get(b"a=" + b"x" * 60_000) is None
    for number in range(5000):
        answers.keep(f"small={number}".encode(), Answer(b"x", '"x"'), version)
    assert answers.get(b"small=0") is None and answers.get(questions[-1]) is None
    assert answers.get(b"small=4999") is not None

"""What a page may cost: queries that do not grow with what it shows, nor work done twice."""

import json
import re
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from lambda_search.events import Events
from lambda_search.records import leading
from lambda_search.report.pages import study_figures
from lambda_search.service.keeping import Kept
from lambda_search.standings import several_facts
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.report.studies import simulate
from tests.service.filled import spec
from tests.service.reading import Page

HTML = {"Accept": "text/html"}


@contextmanager
def queries(client):
    """What is asked of a service's database."""
    engine, several = client.app.state.context.store._engine, []

    def asked(connection, cursor, statement, *_):
        several.append(statement)

    event.listen(engine, "before_cursor_execute", asked)
    yield several
    event.remove(engine, "before_cursor_execute", asked)


def filled(store, count, first=0):
    for number in range(first, first + count):
        simulate(store, f"n-{number}", until="row" if number % 2 else "search", trials=8)
        Queue(store).submit(f"waits-{number}", spec(f"waits-{number}"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["/v1/studies?limit=500", "/studies", "/studies.json", "/metrics"]
)
def test_studies_are_listed_with_as_many_queries_however_many_they_are(serve, url, path):
    store = Store(url)
    filled(store, 2)
    client, counts = serve(url), []
    for more in (0, 8):
        filled(store, more, 2)
        assert client.get(path, headers=HTML).status_code == 200  # what is loaded once is loaded
        with queries(client) as asked:
            assert client.get(path, headers=HTML).status_code == 200
        counts.append(len(asked))
    store.close()
    assert counts[0] == counts[1] <= 20, counts


def test_a_line_says_what_trials_and_rows_say(url):
    store = Store(url)
    simulate(store, "proven")
    simulate(store, "searched", until="search", seed=3)
    simulate(store, "began", until="began")
    for told, study in zip(several_facts(store, store.studies()), store.studies(), strict=True):
        ended = [one for one in store.trials(study.id) if not one.is_open]
        best, rows = leading(ended), store.rows(study.id)
        assert told["trials"] == len(ended)
        assert (told["driver"] is not None) == store.is_driven(study) == (study.state == "running")
        if best is None:
            assert told["best"] is None
        else:
            assert told["best"] | {"schedule": best.schedule} == {
                **{"b": best.schedule.b, "k": best.schedule.k, "schedule": best.schedule},
                **{"gain": best.gain, "n": best.n},
            }
        assert (told["row"] or {}).get("id") == (rows[-1].id if rows else None)
    store.close()


def test_a_study_page_is_drawn_once_until_something_happens_in_the_study(serve, url, monkeypatch):
    store, drawn = Store(url), []
    simulate(store, "other")
    simulate(store, "valley", until="search")
    monkeypatch.setattr(
        "lambda_search.service.pages.study.study_figures",
        lambda found, most: drawn.append(found.name) or study_figures(found, most),
    )
    monkeypatch.setattr("lambda_search.service.keeping._TIMES", 0)
    client = serve(url)
    pages = [client.get("/studies/valley", headers=HTML) for _ in range(3)]
    assert drawn == ["valley"] and len({one.text for one in pages}) == 1
    Events("other", [store.say]).say("note", "elsewhere")
    client.get("/studies/valley", headers=HTML)
    assert drawn == ["valley"]
    Events("valley", [store.say]).say("note", "something happened here")
    assert "something happened here" in client.get("/studies/valley", headers=HTML).text
    assert drawn == ["valley"] * 2
    client.get("/studies/other", headers=HTML)
    store.close()


def test_what_costs_much_is_drawn_less_often_but_never_of_another_state(monkeypatch):
    clock, kept = [0.0], Kept()
    monkeypatch.setattr("lambda_search.service.keeping.time.monotonic", lambda: clock[0])

    def draw(value):
        clock[0] += 2
        return value

    assert kept.get("s", "running", 1, lambda: draw("first")) == "first"
    clock[0] += 19
    assert kept.get("s", "running", 2, lambda: draw("second")) == "first"
    assert kept.get("s", "done", 2, lambda: draw("third")) == "third"
    clock[0] += 19
    assert kept.get("s", "done", 3, lambda: draw("fourth")) == "third"
    clock[0] += 2
    assert kept.get("s", "done", 3, lambda: draw("fifth")) == "fifth"


def test_the_latest_trials_are_shown_the_others_a_page_each_and_all_in_the_files(serve, url):
    store = Store(url)
    simulate(store, "many", trials=420, until="search")
    client = serve(url)

    def shown(query=""):
        page = Page(client.get(f"/studies/many{query}", headers=HTML))
        [table] = [one for one in page.tables if one[0][0] == "trial"]
        return page, [int(line[0]) for line in table[1:]]

    page, numbers = shown()
    assert numbers == list(range(320, 420))
    assert "Trials 320 to 419 of 420" in page.text
    assert shown("?page=2")[1] == list(range(220, 320))
    last, numbers = shown("?page=5")
    assert numbers == list(range(20))
    assert "?page=2" in page.links and "?page=4" in last.links and "?page=6" not in last.links
    assert len(client.get("/studies/many/trials.json").json()) == 420
    [figures] = re.findall('id="figures">(.*?)</script>', client.get("/studies/many").text)
    plane = json.loads(figures)["plane"]["data"]
    drawn = sum(len(one["x"]) for one in plane if one["name"] in ("stopped early", "complete"))
    assert 299 <= drawn <= 301
    store.close()

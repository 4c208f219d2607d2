"""What a page may cost: queries that do not grow with what it shows, nor work done twice."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from lambda_search.records import leading
from lambda_search.standings import several_facts
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.report.studies import simulate
from tests.service.filled import spec

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


@pytest.mark.parametrize("path", ["/v1/studies?limit=500", "/studies", "/studies.json", "/metrics"])
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

"""Names that are addresses, files that a form takes, and what pages send besides."""

import gzip
import re
from dataclasses import replace
from importlib.resources import files

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lambda_search import studies
from lambda_search.errors import UsageError
from lambda_search.records import Event
from lambda_search.store.clock import now
from lambda_search.store.engine import StoreAway
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.exchange.rows import setting
from tests.report.studies import simulate
from tests.service.conftest import TOKEN
from tests.service.filled import progress
from tests.service.reading import Page
from tests.store.test_store import row

HTML = {"Accept": "text/html"}
SPEC = """
name: {name}
model: {{framework: diffusers, checkpoint: "bundled:fashion-mnist", config: {config}}}
sampler: {{name: ancestral, steps: 4}}
metric: {{extractor: bundled, reference: "bundled:fashion-mnist"}}
"""


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/s.db")
    yield opened
    opened.close()


@pytest.fixture
def send(serve, store):
    """Sends the form, signed in; the page that comes back, or where it leads."""
    client = serve(store.url)
    client.post("/login", data={"token": TOKEN})
    [csrf] = {one["value"] for one in Page(client.get("/studies/new")).with_("input", name="csrf")}

    def sent(text, *several):
        parts = [("files", (name, content)) for name, content in several]
        data = {"csrf": csrf, "study": text}
        return client.post("/studies/new", data=data, files=parts, headers=HTML)

    return sent


def test_the_form_takes_files_as_large_as_rest_does_by_their_base_names(send, store):
    prompts = b"a cat\n" * 47_000
    assert 280_000 < len(prompts) < 1 << 20
    text = SPEC.format(name="s", config="configs/c.yaml")
    config = b"prompts: texts/p.txt"
    answer = send(text, ("c.yaml", config), ("p.txt", prompts))
    assert answer.status_code == 303, Page(answer).text
    claim = Queue(store).claim(["s"])
    assert claim.files == {"configs/c.yaml": config, "texts/p.txt": prompts}
    Queue(store).end(claim.lease, "queued", "stopped")
    too_large = send(text, ("c.yaml", b"#" * ((1 << 20) + 1)))
    assert too_large.status_code == 400 and "c.yaml is too large" in Page(too_large).text


def test_the_form_refuses_files_of_one_name(send, store):
    text = SPEC.format(name="s", config="a/c.yaml")
    twice = send(text, ("c.yaml", b"steps: 5"), ("c.yaml", b"steps: 6"))
    assert twice.status_code == 400 and "Two files are named c.yaml" in Page(twice).text
    one_for_two = send(text, ("c.yaml", b"prompts: b/c.yaml"))
    assert one_for_two.status_code == 400 and "under one name" in Page(one_for_two).text
    unnamed = send(text, ("c.yaml", b"steps: 5"), ("d.yaml", b"steps: 5"))
    assert unnamed.status_code == 400 and "d.yaml" in Page(unnamed).text
    assert store.studies() == []


def test_no_study_is_named_as_the_form_is(send, store, tmp_path, serve, bearer):
    text = SPEC.format(name="new", config="null")
    (tmp_path / "new.yaml").write_text(text)
    answer = send(text)
    assert answer.status_code == 400 and "named 'new'" in Page(answer).text
    posted = serve(store.url).post("/v1/studies", headers=bearer, json={"study": text})
    assert posted.status_code == 400 and "named 'new'" in posted.json()["detail"]
    with pytest.raises(UsageError, match="named 'new'"):
        studies.submit(tmp_path / "new.yaml", store)
    studies.submit(_file(tmp_path), store)
    with pytest.raises(UsageError, match="named 'new'"):
        studies.rename("old", "new", store)
    assert [one.name for one in store.studies()] == ["old"]


def _file(folder):
    (folder / "old.yaml").write_text(SPEC.format(name="old", config="null"))
    return folder / "old.yaml"


def test_a_model_may_be_called_as_a_file_is(serve, store):
    several = {"weights.csv": "1", "weights": "2", "m.json": "3", "m.csv.json": "4"}
    store.add([row(setting(model=name, weights=one * 64)) for name, one in several.items()])
    client = serve(store.url)
    for name in several:
        page = client.get(f"/models/{name}", headers=HTML)
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        for form, kind in {"json": "application/json", "csv": "text/csv"}.items():
            if f"{name}.{form}" not in several:
                twin = client.get(f"/models/{name}.{form}")
                assert twin.status_code == 200 and twin.headers["content-type"].startswith(kind)
    assert client.get("/models/nobody.csv").status_code == 404
    assert client.get("/models/.csv").status_code == 404


def test_plotly_is_sent_compressed_and_kept_by_its_version(serve, store):
    client = serve(store.url)
    store.add([row(setting(model="m"))])
    page = Page(client.get("/models/m", headers=HTML))
    [place] = [one["src"] for one in page.with_("script") if "plotly" in one.get("src", "")]
    plain = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    with client.stream("GET", place, headers={"Accept-Encoding": "br, gzip"}) as answer:
        sent = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["vary"]
        assert re.search(r"max-age=\d{8}, immutable", answer.headers["cache-control"])
    assert len(sent) < len(plain) / 3 and gzip.decompress(sent) == plain
    for words in ("identity", "gzip;q=0", "br"):
        answer = client.get(place, headers={"Accept-Encoding": words})
        assert "content-encoding" not in answer.headers and answer.content == plain
    assert "immutable" not in client.get("/assets/plotly.min.js").headers["cache-control"]


def test_what_the_store_knew_is_not_told_once_it_is_away(serve, store, monkeypatch):
    claim = simulate(store, "photos-100", until="search")
    Queue(store).report({claim.lease: progress()})
    client = serve(store.url)
    known = client.get("/metrics").text
    assert "lambda_search_images_per_second 38.2" in known
    assert "lambda_search_driven_studies 1.0" in known

    def away(self, query):
        raise StoreAway("It is away.", "Wait.")

    monkeypatch.setattr(Store, "read", away)
    told = client.get("/metrics").text
    assert "lambda_search_store_up 0.0" in told
    for name in ("images_per_second", "shards_per_second", "driven_studies", "studies{"):
        assert f"lambda_search_{name}" not in told
    monkeypatch.undo()
    assert "lambda_search_images_per_second 38.2" in client.get("/metrics").text


def test_pages_say_where_they_are_and_when_and_keep_filters(serve, store):
    simulate(store, "valley", until="began")
    store.say_all([Event("valley", "note", "long ago", now().replace(year=2021, month=2, day=3))])
    rows = [row(setting(model="m", weights=f"{one:064x}", steps=1 + one % 9)) for one in range(60)]
    store.add(rows)
    client = serve(store.url)
    page = Page(client.get("/studies/valley", headers=HTML))
    assert "2021-02-03" in page.text
    for path, name in {
        "/": "/",
        "/models/m": "/",
        f"/rows/{rows[0].id[:12]}": "/",
        "/studies": "/studies",
        "/studies/valley": "/studies",
        "/studies/new": "/studies",
        "/compare": "/compare",
    }.items():
        shown = Page(client.get(path, headers=HTML))
        current = [one for tag, one in shown.tags if tag == "a" and "aria-current" in one]
        assert [one["href"] for one in current] == [name], path
        assert current[0]["aria-current"] == ("page" if path == name else "true")
    listed = Page(client.get("/models/m?steps=3&sampler=ancestral", headers=HTML))
    [older] = [one for one in listed.links if "after=" in one]
    assert "steps=3" in older and "sampler=ancestral" in older


def test_what_each_study_costs_and_where_workers_are_has_labels(serve, store):
    """Two studies of one driver share its workers, and one of them tells where they are."""
    places = (("gpu-1", "A100", 4), ("gpu-2", "A100", 3))
    leases = []  # a driver lives as long as it has them
    for name, told in (("photos-100", places), ("faces-20", ())):
        leases.append(simulate(store, name, until="search").lease)
        one = replace(progress(), study=name, places=told)
        Queue(store).report({leases[-1]: replace(one, made_in_all=7400, seconds_in_all=190.0)})
    found = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(serve(store.url).get("/metrics").text)
        for one in family.samples
    }
    assert found["lambda_search_workers", "A100", "gpu-1"] == 4
    assert found["lambda_search_workers", "A100", "gpu-2"] == 3
    for name in ("photos-100", "faces-20"):
        assert found["lambda_search_study_images_total", name] == 7400
        assert found["lambda_search_study_worker_seconds_total", name] == 190
        assert found["lambda_search_study_images_per_second", name] == 38.2
        assert found["lambda_search_study_seconds_left", name] == pytest.approx(13600 / 38.2)

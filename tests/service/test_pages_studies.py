"""The queue, a study in each of its states, and the form that takes new ones."""

import csv
import io
import json
import re
from base64 import b64encode
from dataclasses import replace

import pytest

from lambda_search.errors import UsageError
from lambda_search.events import Events
from lambda_search.service.pages.complaints import complaints_of
from lambda_search.service.pages.posting import EXAMPLE
from lambda_search.spec import parse_specs
from lambda_search.standings import facts
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.report.studies import png
from tests.report.studies import searched
from tests.report.studies import simulate
from tests.service.conftest import TOKEN
from tests.service.filled import fill
from tests.service.filled import spec
from tests.service.reading import Page

HTML = {"Accept": "text/html"}
POSTED = """\
name: posted
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""


@pytest.fixture
def place(tmp_path):
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(place):
    opened = Store(place)
    yield opened
    opened.close()


@pytest.fixture
def look(serve, store, place):
    client = serve(place)

    def read(path, status=200):
        page = Page(client.get(path, headers=HTML))
        assert (page.status, page.open) == (status, []), path
        return page

    read.client = client
    return read


@pytest.fixture
def signed_in(look):
    """A client that has signed in, and what its pages' forms carry."""
    client = look.client
    client.post("/login", data={"token": TOKEN})
    [told] = look("/studies/new").with_("input", name="csrf")[:1]
    return client, told["value"]


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_queue_says_what_each_study_is_at(look, store):
    found, claim = fill(store)
    page = look("/studies")
    told = {line[0].strip(): " ".join(line) for line in page.tables[0][1:]}
    assert set(told) == {study.name for study in store.studies()}
    assert "running search" in told["photos-100"] and claim.lease.study_id
    assert "shapes" in told["faces-20"] and "queued" in told["waits"]
    assert str(found[20].schedule) in told["photos-20"]
    assert "No driver is alive" not in page.text  # one is at work
    assert [line[0].strip() for line in look("/studies?state=failed").tables[0][1:]] == [
        "faces-20"
    ]
    assert "no such study" in look("/studies?q=nobody").text.lower()
    assert look("/studies?state=odd", 400).status == 400
    twin = look.client.get("/studies.json").json()
    by_name = {one["study"]: one for one in twin}
    known = facts(store, store.study("photos-20"))
    assert by_name["photos-20"]["best_gain"] == known["best"]["gain"]
    assert by_name["photos-20"]["row"] == found[20].id
    assert len(lines(look.client.get("/studies.csv").text)) == len(twin)


def test_where_nobody_drives_the_page_says_how_to(look, store):
    Queue(store).submit("waits", spec("waits"))
    for path in ("/studies", "/studies/waits"):
        assert re.search("No driver is alive.* drive", look(path).text)
    page = look("/studies/waits")
    assert "0 of 40" in page.text and "nobody" in page.text


@pytest.mark.parametrize("until", ["queued", "began", "search", "row"])
def test_a_study_on_its_way(look, store, until):
    simulate(store, "s", until=until)
    page = look("/studies/s")
    shown = [told["data-figure"] for told in page.with_("div") if "data-figure" in told]
    assert ("plane" in shown and "rungs" in shown) == (until in ("search", "row"))
    live = [told for told in page.with_("div", id="live") if "data-events" in told]
    assert bool(live) == (until != "row")
    trials = store.trials(store.study("s").id)
    twin = json.loads(look.client.get("/studies/s/trials.json").text)
    assert [one["gain"] for one in twin] == [one.gain for one in trials]
    if trials:
        table = next(one for one in page.tables if one[0][0] == "trial" and len(one) > 3)
        assert [line[0].strip() for line in table[1:]] == [str(one.number) for one in trials]
        gains = [line[6].partition("±")[0].strip() for line in table[1:]]
        assert gains == [f"{one.gain:.3f}".replace("-", "−") for one in trials]
        level = 97.5 if until == "row" else 95
        assert f"paired {level:g} % interval" in page.text
    events = lines(look.client.get("/studies/s/events.csv").text)
    assert [one["text"] for one in events] == [one.text for one in store.events("s")]


def test_images_stand_side_by_side(look, store):
    simulate(store, "s")
    several = look("/studies/s").with_("img")[1:]  # after the sign of the site
    assert len(several) == 2 and all(one["alt"] for one in several)
    assert several[0]["alt"] == "Samples with λ = 1"


def test_what_leads_is_pictured_while_it_runs(look, store):
    claim = simulate(store, "s", until="began")
    ended, evaluations = searched()
    store.propose(claim.lease, ended)
    pictured = [replace(one, picture=png(one.trial)) for one in evaluations]
    store.close_rung(claim.lease, pictured, ended)
    best = max(ended[1:], key=lambda one: (one.n, one.gain))
    page = look("/studies/s")
    shown = [told["src"] for told in page.with_("img")[1:]]
    assert shown == [
        f"data:image/png;base64,{b64encode(png(number)).decode()}" for number in (0, best.number)
    ]
    [scored] = [one for one in evaluations if (one.trial, one.n) == (best.number, 300)]
    half = 1.959964 * scored.gain_standard_error
    ends = f"[{scored.gain - half:.3f}, {scored.gain + half:.3f}]".replace("-", "−")
    assert (
        f"trial {best.number}: λ(i) = {best.schedule} gain {scored.gain:.3f} {ends}" in page.text
    )


def test_failed_and_retracted_studies_say_why(look, store):
    claim = simulate(store, "s", until="began")
    told = "<b>weights</b> are \u202egone"
    Events("s", [store.say]).say("failed", told)
    Queue(store).end(claim.lease, "failed", "failed", told)
    page = look("/studies/s")
    assert "Failed: <b>weights</b> are \\u202egone" in page.text and not page.with_("b")
    *_, row = simulate(store, "t")
    store.retract(row.id, "a wrong reference")
    assert "a wrong reference" in look("/studies/t").text
    assert look("/studies/nobody", 404).status == 404


def test_who_may_not_write_is_shown_no_button_and_refused(look, store):
    Queue(store).submit("waits", spec("waits"))
    page = look("/studies/waits")
    assert not page.with_("form", method="post") and "Sign in to stop" in page.text
    assert not look("/studies/new").with_("textarea")
    for path in ("/studies/waits/stop", "/studies/waits/resume", "/studies/new"):
        assert look.client.post(path, data={"study": POSTED}).status_code == 401
    assert store.study("waits").state == "queued"


def test_a_study_is_stopped_and_resumed_by_who_signed_in(look, store, signed_in):
    client, csrf = signed_in
    Queue(store).submit("waits", spec("waits"))
    assert client.post("/studies/waits/stop").status_code == 403  # without its page's number
    answer = client.post("/studies/waits/stop", data={"csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/waits")
    page = look("/studies/waits")
    assert store.study("waits").state == "stopped" and "Stopped" in page.text
    assert page.with_("form", action="/studies/waits/resume")
    client.post("/studies/waits/resume", data={"csrf": csrf})
    assert store.study("waits").state == "queued"
    simulate(store, "done")
    assert client.post("/studies/done/resume", data={"csrf": csrf}).status_code == 409


@pytest.mark.parametrize("way", ["pasted", "uploaded"])
def test_a_study_joins_the_queue(look, store, signed_in, way):
    client, csrf = signed_in
    text = POSTED.replace("\n", "\r\n") if way == "pasted" else ""
    files = {"file": ("s.yaml", POSTED)} if way == "uploaded" else {"file": ("", b"")}
    answer = client.post("/studies/new", data={"csrf": csrf, "study": text}, files=files)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/posted")
    study = store.study("posted")
    assert (study.state, study.door) == ("queued", "service")
    several = POSTED.replace("steps: 4", "steps: [4, 8]")
    answer = client.post("/studies/new", data={"csrf": csrf, "study": several})
    assert answer.headers["location"] == "/studies"
    assert store.study("posted-8").state == "queued"


WRONG = {
    "a field": (POSTED.replace("ancestral", "ancest"), 3, "sampler.name"),
    "a field that is none": (POSTED.replace("steps: 4", "stops: 4"), 3, "sampler.stops"),
    "what is missing": (POSTED.replace(", steps: 4", ""), 3, "sampler.steps"),
    "no YAML": (POSTED + "search: [", 5, "YAML"),
    "a blank": (
        POSTED.replace('"bundled:fashion-mnist"}\nsampler', '"???"}\nsampler'),
        2,
        "blank",
    ),
    "what it may not name": (POSTED.replace("bundled:f", "/etc/f"), 2, "checkpoint"),
    "no study": ("- 1\n", None, "not a study"),
    "nothing": ("", None, "no study"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_line_by_line(look, store, signed_in, case):
    client, csrf = signed_in
    text, line, words = WRONG[case]
    answer = client.post("/studies/new", data={"csrf": csrf, "study": text})
    page = Page(answer)
    assert answer.status_code == 400 and words in page.text and page.open == []
    marked = [
        int(told["id"].removeprefix("line-"))
        for tag, told in page.tags
        if tag == "tr" and told.get("class") == "wrong"
    ]
    assert marked == ([] if line is None else [line])
    assert (f"#line-{line}" in page.links) == (line is not None)
    assert store.studies() == []


def test_complaints_of_lists_and_of_what_is_too_large():
    text = "metric:\n  also:\n    - {extractor: a}\n    - {extractor: b}\n"
    error = UsageError("x is not a valid study:\n  metric.also.1.extractor: is odd")
    assert [one.line for one in complaints_of(error, text)] == [4]
    assert complaints_of(UsageError("It is too large."), "a" * 10**6)[0].line is None


def test_the_example_is_a_study():
    assert [one.name for one in parse_specs(EXAMPLE)] == [
        "my-model-10",
        "my-model-20",
        "my-model-50",
    ]


def test_a_service_without_a_token_says_that_nothing_can_be_queued(serve, place):
    page = Page(serve(place, token="").get("/studies/new", headers=HTML))
    assert "started without a token" in page.text and not page.with_("a", href="/login")

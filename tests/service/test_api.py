"""REST against the store itself, on both databases."""

import json
import re
import time
from dataclasses import replace

import pytest

from lambda_search import best as looked_up
from lambda_search import nearest
from lambda_search.exchange import export_rows
from lambda_search.records import match_from_json
from lambda_search.records import row_from_json
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.exchange.rows import every_kind
from tests.exchange.rows import setting
from tests.report.studies import simulate
from tests.store.test_store import row

SPEC = """
name: {name}
model: {{framework: diffusers, checkpoint: "{checkpoint}"}}
sampler: {{name: ancestral, steps: {steps}}}
metric: {{extractor: bundled, reference: "bundled:fashion-mnist"}}
"""
YAML = {"Content-Type": "application/yaml"}


def spec(name="s", checkpoint="bundled:fashion-mnist", steps=4):
    return SPEC.format(name=name, checkpoint=checkpoint, steps=steps)


@pytest.fixture
def store(url):
    opened = Store(url)
    opened.add(every_kind())
    yield opened
    opened.close()


@pytest.fixture
def client(serve, store):
    return serve(store.url)


def test_it_answers_what_the_store_answers(client, store):
    for model, asked in {
        "adm-cifar10": {"steps": 20},
        "m": {"steps": 4, "sampler": "ddim", "guidance": 1.5, "site": "x0_only"},
        "edm-cifar10-uncond": {"nfe": 13, "sampler": "heun"},
    }.items():
        for _ in range(2):  # the second time from what is kept
            answer = client.get("/v1/schedules/best", params={"model": model, **asked})
            if answer.status_code == 200:
                assert row_from_json(answer.json()) == looked_up(model, store=store, **asked)
    assert answer.status_code == 200
    asked = {"model": "adm-cifar10", "steps": 21}
    assert client.get("/v1/schedules/best", params=asked).json()["code"] == "no-schedule"
    near = client.get("/v1/schedules/best", params={**asked, "nearest": True})
    assert match_from_json(near.json()) == nearest("adm-cifar10", 21, store=store)


WRONG = [
    ("/v1/schedules/best?model=nobody&steps=1", 404, "no-schedule"),
    ("/v1/schedules/best?model=adm-cifar10", 400, "usage"),
    ("/v1/schedules/best?model=adm-cifar10&steps=1&nfe=2", 400, "usage"),
    ("/v1/schedules/best", 422, "invalid"),
    ("/v1/schedules/best?model=m&steps=x", 422, "invalid"),
    ("/v1/schedules/best?model=m&steps=4&guidance=nan", 422, "invalid"),
    ("/v1/schedules/best?model=m&steps=4&sampler=%00", 422, "invalid"),
    ("/v1/schedules/best?model=%00&steps=4", 422, "invalid"),
    ("/v1/schedules?limit=0", 422, "invalid"),
    ("/v1/schedules?limit=501", 422, "invalid"),
    ("/v1/rows/zz", 404, "unknown"),
    ("/v1/rows?model=nobody", 404, "no-schedule"),
    ("/v1/studies/nobody", 404, "unknown"),
    ("/v1/studies/nobody/events", 404, "unknown"),
    ("/v1/nowhere", 404, "not-found"),
]


def test_what_is_wrong_is_a_problem(client):
    for path, status, code in WRONG:
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert (answer.status_code, told["status"], told["code"]) == (status, status, code)
        assert told["detail"] and told["title"] and told["type"] == "about:blank"


def test_other_methods_are_told_which_are_allowed(client, bearer):
    answer = client.put("/v1/schedules/best", headers=bearer)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.headers["content-type"] == "application/problem+json"


def test_who_has_an_answer_is_not_sent_it_again(client):
    for path in (
        "/v1/schedules/best?model=adm-cifar10&steps=20",
        "/v1/schedules/best?model=adm-cifar10&steps=20",
        "/v1/schedules/matches?model=adm-cifar10",
        "/v1/schedules?model=adm-cifar10",
        "/v1/schedules?model=adm-cifar10&format=csv",
        "/v1/models",
        "/v1/rows/881eef3622cd",
        "/v1/studies",
    ):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        several = client.get(path, headers={"If-None-Match": f'"x", W/{tag}'})
        assert several.status_code == 304
        assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_new_row_is_seen_and_a_retracted_one_not(client, store):
    asked = {"params": {"model": "new", "steps": 4}}
    assert client.get("/v1/schedules/best", **asked).status_code == 404
    first = row(setting(model="new"), fid=4.0)
    better = replace(row(setting(model="new", weights="0" * 64), b=1.02, fid=3.0))
    store.add([first])
    client.app.state.context.answers.expire()
    before = client.get("/v1/schedules/best", **asked)
    assert before.json()["id"] == first.id
    store.add([better])
    client.app.state.context.answers.expire()
    after = client.get("/v1/schedules/best", **asked)
    assert after.json()["id"] == better.id and after.headers["etag"] != before.headers["etag"]
    store.retract(better.id, "wrong")
    client.app.state.context.answers.expire()
    assert client.get("/v1/schedules/best", **asked).json()["id"] == first.id


def test_the_kept_answer_gives_way_to_a_better_row_within_a_second(client, store):
    store.add([row(setting(model="new"), fid=4.0)])
    better = replace(row(setting(model="new", weights="0" * 64), b=1.02, fid=3.0))
    asked = {"params": {"model": "new", "steps": 4}}
    counted = 'lambda_search_lookups_total{answer="kept"} '
    kept = 0.0
    while not kept:  # it is answered from what was kept
        before = client.get("/v1/schedules/best", **asked).json()
        kept = float(client.get("/metrics").text.partition(counted)[2].split()[0])
    store.add([better])
    until = time.monotonic() + 1
    while (after := client.get("/v1/schedules/best", **asked).json()) == before:
        assert time.monotonic() < until
    assert after["id"] == better.id


def test_pages_of_models_are_full_and_count_those_with_a_row_that_stands(client, store):
    total = client.get("/v1/models").json()["total"]
    for number in range(4):
        gone = row(setting(model=f"aa-gone-{number}", weights=f"{number:064x}"))
        store.add([gone])
        store.retract(gone.id, "wrong")
    for number in range(3):
        store.add([row(setting(model=f"aa-new-{number}", weights=f"{number + 9:064x}"))])
    first = client.get("/v1/models?limit=3&q=aa-").json()
    assert [one["name"] for one in first["models"]] == [f"aa-new-{one}" for one in range(3)]
    assert first["total"] == 3
    whole = client.get("/v1/models?limit=500").json()
    assert len(whole["models"]) == whole["total"] == total + 3
    assert client.get("/v1/models?q=aa-gone").json() == {"models": [], "total": 0}


def test_pages_give_each_row_once(client, store):
    path, seen = "/v1/schedules?limit=7&every=true", []
    while path:
        answer = client.get(path)
        seen += [one["id"] for one in answer.json()["rows"]]
        link = re.search('<([^>]*)>; rel="next"', answer.headers.get("link", ""))
        path = link and link[1]
    assert len(seen) == len(set(seen)) > 14
    assert set(seen) == {one.id for one in store.all_rows()}
    path, seen = "/v1/models?limit=3", []
    while path:
        answer = client.get(path)
        seen += [one["name"] for one in answer.json()["models"]]
        link = re.search('<([^>]*)>; rel="next"', answer.headers.get("link", ""))
        path = link and link[1]
    assert seen == sorted(seen) and set(seen) <= set(store.models())
    assert "adm-cifar10" in seen and "m" in seen


def test_models_are_found_by_name_hub_file_and_weights(client, store):
    def names(words):
        told = client.get("/v1/models", params={"q": words}).json()["models"]
        return [one["name"] for one in told]

    hubbed = next(one for one in store.all_rows() if one.origins.hub)
    name = hubbed.setting.model
    assert names("CIFAR10") == [one for one in names("") if "cifar10" in one]
    assert name in names("ner/na") and name in names("weights.p")
    assert name in names(hubbed.setting.weights[:10]) and names("0" * 65) == []
    assert names("%") == [one for one in names("") if "%" in one]


def test_rows_filter(client, store):
    for asked in ({"sampler": "ddim"}, {"steps": 1}, {"status": "measured"}, {"model": "p"}):
        told = client.get("/v1/schedules", params={**asked, "every": True, "limit": 500})
        [(name, value)] = asked.items()
        expected = {
            one.id
            for one in store.all_rows()
            if value
            in {
                "sampler": (one.setting.solver,),
                "steps": (one.setting.steps, len(one.lambdas)),
                "status": (one.status,),
                "model": (one.setting.model,),
            }[name]
        }
        assert {one["id"] for one in told.json()["rows"]} == expected != set()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_rows_go_out_and_come_in(client, store, serve, bearer, tmp_path, form):
    sent = client.get("/v1/rows", params={"format": form})
    export_rows(tmp_path / "rows", store, form=form)
    assert sent.content == (tmp_path / "rows").read_bytes()
    page = client.get("/v1/schedules", params={"format": form, "every": True, "limit": 500})
    for place, content in enumerate((sent.content, page.content)):
        other = serve(f"sqlite:///{tmp_path}/{place}.db")
        told = other.post("/v1/rows", headers=bearer, content=content)
        assert told.status_code == 200 and told.json()["new"] > 0
        again = other.post("/v1/rows", headers=bearer, content=content).json()
        assert again == {"new": 0, "doubles": sum(told.json().values()), "taken_back": 0}
        rows = {one.id for one in Store(other.app.state.context.settings.store).all_rows()}
        assert rows == {one.id for one in store.all_rows()}


NO_ROWS = [b"", b"{", b"x,y\n1,2", b"\xff\xfe", b'{"rows": []}', b"null"]


def test_what_is_no_file_of_rows_is_refused_whole(client, store, bearer):
    for content in NO_ROWS:
        before = store.counts()
        answer = client.post("/v1/rows", headers=bearer, content=content)
        assert (answer.status_code, answer.json()["code"]) == (400, "usage")
        assert store.counts() == before


def test_a_row_says_what_became_of_it(client, store):
    for one in store.all_rows():
        told = client.get(f"/v1/rows/{one.id[:16]}").json()
        instead = store.instead_of(one.id)
        assert told.pop("superseded_by") == (instead and instead.id)
        assert row_from_json(told) == one


def test_a_study_is_posted_seen_stopped_and_queued_again(client, store, bearer):
    answer = client.post("/v1/studies", headers={**bearer, **YAML}, content=spec())
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/studies/s")
    assert store.study("s").door == "service"
    told = client.get("/v1/studies/s").json()
    assert (told["state"], told["door"], told["budget"]) == ("queued", "service", 100)
    assert told["events"][0]["kind"] == "queued"
    listed = client.get("/v1/studies", params={"state": "queued"}).json()
    assert [one["study"] for one in listed["studies"]] == ["s"] and listed["nobody_drives"]
    assert client.get("/v1/studies", params={"q": "nothing"}).json()["total"] == 0
    assert client.delete("/v1/studies/s", headers=bearer).json()["state"] == "stopped"
    again = client.delete("/v1/studies/s", headers=bearer)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    resumed = client.post("/v1/studies/s/resume", headers=bearer)
    assert resumed.json()["state"] == "queued"


def test_a_study_that_is_done_is_confirmed_again(client, store, bearer):
    simulate(store, "valley")
    path = "/v1/studies/valley/confirm"
    assert client.post(path).status_code == 401
    for wrong in ({"samples": 1}, {"precision": "60%"}, {"more": 1}, [1]):
        assert client.post(path, headers=bearer, json=wrong).status_code == 422
    assert store.study("valley").state == "done"
    answer = client.post(path, headers=bearer, json={"precision": "2%", "top": 1})
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    wanted = store.study("valley").proof_wanted
    assert (wanted["precision"], wanted["top"]) == (0.02, 1)
    assert Queue(store).claim().study.name == "valley", "any driver takes it"
    again = client.post(path, headers=bearer)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert client.post("/v1/studies/none/confirm", headers=bearer).status_code == 404


def test_several_studies_of_a_file_come_in_pages(client, bearer):
    answer = client.post("/v1/studies", headers=bearer, json={"study": spec(steps=[4, 5, 6])})
    assert [one["study"] for one in answer.json()["studies"]] == ["s-4", "s-5", "s-6"]
    first = client.get("/v1/studies?limit=2")
    assert len(first.json()["studies"]) == 2 and first.json()["total"] == 3
    path = re.search('<([^>]*)>; rel="next"', first.headers["link"])[1]
    assert len(client.get(path).json()["studies"]) == 1


NO_STUDY = [
    ("name: s", 400),
    ("name: [", 400),
    ("", 400),
    (b"\xff", 422),
    (spec("../../x"), 400),
    (spec(checkpoint="/etc/passwd"), 400),
    (spec(checkpoint="../../etc/passwd"), 400),
    (spec(checkpoint="http://169.254.169.254/latest/meta-data"), 400),
    (spec(checkpoint="owner/name"), 400),
    (spec().replace("extractor: bundled", "extractor: ./x.pt"), 400),
    (spec().replace('"bundled:fashion-mnist"}\n', '"images:/etc"}\n', 1), 400),
    ("a: &a [*a]", 400),
    ("x" * (1 << 19), 422),
]


def test_what_is_no_study_or_leads_elsewhere_is_refused(client, store, bearer):
    for text, status in NO_STUDY:
        answer = client.post("/v1/studies", headers={**bearer, **YAML}, content=text)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert store.studies() == []


NOT_POSTED = [
    ({"study": 1}, 422),
    ({"spec": "x"}, 422),
    ({"study": spec(), "files": {"unknown.txt": "x"}}, 400),
    ({"study": spec(), "files": {"a": 1}}, 422),
    ({"study": "\ud800"}, 400),
    ([], 422),
]


def test_what_is_no_posted_study_is_refused(client, store, bearer):
    for body, status in NOT_POSTED:
        sent = {**bearer, "Content-Type": "application/json"}
        answer = client.post("/v1/studies", headers=sent, content=json.dumps(body))
        assert answer.status_code in (status, 422)
        assert store.studies() == []


def test_it_may_name_what_the_operator_allows(serve, store, bearer, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    client = serve(store.url, roots=(root,), hub=("owner/name",))
    for name, checkpoint in {"a": "w.pt", "b": "owner/name", "c": str(root / "x.pt")}.items():
        sent = {"study": spec(name, checkpoint)}
        assert client.post("/v1/studies", headers=bearer, json=sent).status_code == 201
    assert client.get("/v1/allowed").json()["hub"] == ["owner/name"]
    (root / "link.pt").symlink_to(tmp_path / "elsewhere")
    sent = {"study": spec("d", "link.pt")}
    assert client.post("/v1/studies", headers=bearer, json=sent).status_code == 400

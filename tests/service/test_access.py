"""Who may do what: over all routes and methods, and from pages elsewhere."""

import hashlib
import re
import sqlite3
import urllib.request
from urllib.parse import urlencode

import pytest

from lambda_search.service.dashboard import OWN
from lambda_search.service.sessions import Attempts
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.browsing import reachable
from tests.service.conftest import AT
from tests.service.conftest import TOKEN
from tests.service.routes import filled
from tests.service.routes import routes

METHODS = ("POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
SPEC = """
name: s
model: {framework: diffusers, checkpoint: "bundled:fashion-mnist"}
sampler: {name: ancestral, steps: 4}
metric: {extractor: bundled, reference: "bundled:fashion-mnist"}
"""
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9999"},
    {"Origin": "http://127.0.0.1:8000.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.fixture
def stored(tmp_path):
    """A store with a study that waits."""
    store = Store(f"sqlite:///{tmp_path}/s.db")
    Queue(store).submit("s", SPEC)
    store.close()
    return store.url


def content(url):
    """All that a store holds."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def places(client):
    """An address of every route, of the dashboard's, and of none."""
    found = [route.path for route in client.app.routes if hasattr(route, "path")]
    found += [route.path for route in routes(client)]
    told = client.get("/v1/openapi.json").json()["paths"]
    found += told
    own = [f"/{name}" for name in OWN]
    deeper = ["/api/studies", "/api/studies/1", "/api/studies/1/rename", "/api/trials/1/tell"]
    named = [filled(path) for path in found if path.startswith("/")]
    return sorted({*named, *own, *deeper, "/nowhere", "/v1/nowhere", "/assets/x"})


def signed_in(client):
    """A client's headers for what its page would send."""
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    cookie = client.cookies["lambda_search"]
    return {"X-CSRF-Token": client.app.state.context.sessions.csrf_of(cookie), "Origin": AT}


@pytest.mark.slow
def test_nobody_writes_without_the_token(serve, stored):
    client = serve(stored)
    before = content(stored)
    several = places(client)
    assert {"/v1/studies/s", "/v1/studies/s/resume", "/api/studies/1", "/v1/rows"} <= {*several}
    assert {"/studies/s/stop", "/studies/new", "/logout", "/studies.json", "/"} <= {*several}
    for path in several:
        for method in METHODS:
            for headers in ({}, {"Authorization": "Bearer x"}, *FOREIGN):
                body = {"token": "wrong"} if path == "/login" else None
                code = client.request(method, path, headers=headers, data=body).status_code
                allowed = {401, 403, 405} | ({422, 429} if path == "/login" else set())
                allowed |= {429} if "Authorization" in headers else set()
                assert code in allowed, (method, path, headers, code)
    assert content(stored) == before


def test_a_page_elsewhere_cannot_use_what_a_browser_knows(serve, stored):
    client = serve(stored)
    mine, before = signed_in(client), content(stored)
    for path in places(client):
        for method in METHODS:
            for headers in FOREIGN:
                code = client.request(method, path, headers={**mine, **headers}).status_code
                if "Origin" not in headers:
                    own = {name: it for name, it in mine.items() if name != "Origin"} | headers
                    code = client.request(method, path, headers=own).status_code
                assert code == 403, (method, path, headers, code)
    assert content(stored) == before


def test_with_the_token_the_dashboard_is_still_only_read(serve, stored, bearer):
    client = serve(stored)
    client.get("/api/studies")
    before = content(stored)
    for path in (*(f"/{name}" for name in OWN), "/api/studies", "/api/studies/1"):
        for method in METHODS:
            assert client.request(method, path, headers=bearer).status_code == 405
    assert content(stored) == before
    assert client.get("/api/studies").json()["study_summaries"][0]["study_name"] == "s"


def test_the_token_and_a_signed_in_page_write(serve, stored, bearer):
    client = serve(stored)
    assert client.delete("/v1/studies/s", headers=bearer).json()["state"] == "stopped"
    mine = signed_in(client)
    assert client.post("/v1/studies/s/resume").status_code == 403
    wrong = {**mine, "X-CSRF-Token": "x"}
    assert client.post("/v1/studies/s/resume", headers=wrong).status_code == 403
    assert client.post("/v1/studies/s/resume", headers=mine).json()["state"] == "queued"


def test_a_form_carries_the_number_of_its_page(serve):
    client = serve()
    mine = signed_in(client)
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": AT}
    assert client.post("/logout", headers=sent, content="csrf=x").status_code == 403
    as_json = client.post("/v1/studies", headers=sent, content=f"csrf={mine['X-CSRF-Token']}")
    assert as_json.status_code == 403
    good = client.post("/logout", headers=sent, content=f"csrf={mine['X-CSRF-Token']}")
    assert good.status_code == 303 and "Max-Age=0" in good.headers["set-cookie"]


def test_cookies_of_others_are_none(serve, bearer):
    client = serve()
    other = serve(token="another token of another service")
    cookie = other.app.state.context.sessions.issue()
    for told in (cookie, "x", f"{cookie}x", cookie[:-2], ""):
        headers = {"Cookie": f"lambda_search={told}", "X-CSRF-Token": "x", "Origin": AT}
        assert client.delete("/v1/studies/s", headers=headers).status_code == 401


def test_without_a_token_nobody_writes(serve):
    client = serve(token="")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
        assert client.post("/v1/studies", headers=headers).status_code == 403
    assert client.post("/login", data={"token": ""}).status_code in (401, 422)
    assert client.post("/login", data={"token": "x"}).status_code == 401


@pytest.mark.parametrize(
    ("settings", "headers", "code"),
    [
        ({}, {}, 200),
        ({}, {"Host": "localhost:8000"}, 200),
        ({}, {"Host": "[::1]:8000"}, 200),
        ({}, {"Host": "evil.example"}, 403),
        ({}, {"Host": "evil.example", "Authorization": f"Bearer {TOKEN}"}, 403),
        ({}, {"Host": "127.0.0.1.evil.example"}, 403),
        ({}, {"Host": ""}, 403),
        ({}, {"Host": "[::1"}, 403),
        ({}, {"Origin": "https://evil.example"}, 403),
        ({}, {"X-Forwarded-For": "203.0.113.1"}, 401),
        ({}, {"X-Forwarded-For": "203.0.113.1", "Authorization": f"Bearer {TOKEN}"}, 200),
        ({"names": ("other.example", "l.example")}, {"Host": "l.example"}, 401),
        ({"names": ("l.example",), "public_read": True}, {"Host": "l.example"}, 200),
        ({"names": ("l.example",)}, {}, 401),
        ({"names": ("l.example",)}, {"Host": "localhost"}, 401),
        ({"names": ("l.example",)}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"host": "0.0.0.0"}, {"Host": "127.0.0.1:8000"}, 401),
        ({"host": "0.0.0.0"}, {"Host": "192.0.2.1:8000"}, 401),
        ({"host": "0.0.0.0"}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"host": "0.0.0.0"}, {"Authorization": "Bearer x"}, 401),
        ({"host": "0.0.0.0", "public_read": True}, {}, 200),
        ({"host": "192.0.2.1"}, {"Host": "192.0.2.1:8000"}, 401),
    ],
)
def test_who_reads(serve, settings, headers, code):
    client = serve(**settings)
    for path in ("/v1/models", "/", "/metrics", "/api/studies"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == code, path
        if code != 200:
            assert answer.headers["content-type"] == "application/problem+json"


def test_health_is_told_to_all_who_mean_this_server(serve):
    client = serve(host="0.0.0.0")
    assert client.get("/healthz").json() == {"status": "ok", "store": "ok"}
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403


def test_who_reads_pages_is_led_to_the_login(serve):
    client = serve(host="0.0.0.0")
    answer = client.get("/models", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/models")
    assert client.get("/login", headers={"Accept": "text/html"}).status_code == 200


def test_every_answer_tells_browsers_to_be_careful(serve, bearer):
    client = serve()
    several = [
        client.get("/"),
        client.get("/v1/schedules/best?model=adm-cifar10&steps=20"),
        client.get("/v1/schedules/best?model=adm-cifar10&steps=20"),
        client.get("/nowhere"),
        client.get("/dashboard"),
        client.post("/v1/studies"),
        client.get("/healthz", headers={"Host": "evil.example"}),
    ]
    for answer in several:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        [scripts] = re.findall("script-src ([^;]*)", policy)
        assert "unsafe-inline" not in scripts and "*" not in policy
        assert "access-control-allow-origin" not in answer.headers


def test_bodies_have_an_end(serve, bearer):
    client = serve()
    declared = {**bearer, "Content-Length": str(1 << 40)}
    assert client.post("/v1/studies", headers=declared, content=b"x").status_code == 413

    def endless():
        for _ in range(6):
            yield b"x" * (1 << 20)

    answer = client.post("/v1/studies", headers=bearer, content=endless())
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_token_is_shown_nowhere(serve, bearer, caplog):
    client = serve()
    context = client.app.state.context
    assert TOKEN not in f"{context!r}{context.settings!r}"
    wrong = client.post("/login", data={"token": TOKEN[:-1]})
    assert TOKEN[:-1] not in wrong.text
    assert TOKEN not in client.get("/metrics", headers=bearer).text
    assert TOKEN not in caplog.text


def test_guessed_tokens_are_soon_not_heard_and_the_right_one_always_is(serve, stored, bearer):
    client = serve(stored)

    def guess(number):
        return client.delete(
            "/v1/studies/s", headers={"Authorization": f"Bearer {number}"}
        ).status_code

    assert [guess(number) for number in range(8)] == [401] * 5 + [429] * 3
    refused = client.get("/v1/models", headers={"Authorization": "Bearer x"})
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 60
    assert client.post("/login", data={"token": "x"}).status_code == 429
    assert client.get("/v1/models").status_code == 200  # who brings none guesses none
    assert client.get("/v1/models", headers=bearer).status_code == 200
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    assert client.delete("/v1/studies/s", headers=bearer).status_code == 200


def test_who_is_called_otherwise_each_time_does_not_guess_for_ever():
    attempts = Attempts(most=5, in_all=20)
    assert [attempts.wait_after(f"192.0.2.{one}") > 0 for one in range(25)] == [
        *([False] * 20),
        *([True] * 5),
    ]


def test_signing_out_ends_the_cookie_wherever_it_was_kept(serve):
    client = serve()
    mine = signed_in(client)
    other = client.app.state.context.sessions.issue()
    cookie = client.cookies["lambda_search"]
    client.cookies.clear()
    kept = {**mine, "Cookie": f"lambda_search={cookie}"}
    assert client.post("/v1/studies", headers=kept, content="x").status_code == 400
    assert client.post("/logout", headers=kept).status_code == 303
    assert client.post("/v1/studies", headers=kept, content="x").status_code == 401
    sessions = client.app.state.context.sessions
    assert sessions.csrf_of(cookie) == "" != sessions.csrf_of(other)


def test_the_cookie_is_for_https_alone_where_that_is_how_it_is_asked(serve, tmp_path):
    def told(address, **headers):
        body = urlencode({"token": TOKEN}).encode()
        request = urllib.request.Request(f"{address}/login", body, headers)
        with urllib.request.build_opener(Stays).open(request) as answer:
            return answer.headers["Set-Cookie"]

    with reachable(store=f"sqlite:///{tmp_path}/s.db", token=TOKEN) as address:
        assert "Secure" in told(address, **{"X-Forwarded-Proto": "https"})
        assert "Secure" not in told(address)


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirection."""

    def http_error_303(self, req, fp, code, msg, headers):
        return fp

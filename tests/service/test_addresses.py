"""Any address: what stands in it, and where signing in leads back to."""

import socket
from urllib.parse import parse_qs
from urllib.parse import urlsplit

import pytest

from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from tests.service.browsing import reachable
from tests.service.conftest import AT
from tests.service.conftest import TOKEN
from tests.service.routes import asked
from tests.service.routes import filled
from tests.service.routes import routes
from tests.service.test_access import SPEC

STRANGE = [
    *("", "a\0b", "\ud800".encode("utf-8", "surrogatepass"), "\u202e", "\\", "²", "٣"),
    *("9" * 12, "9" * 400, "0" * 30 + "1", "-1", "//[", "x" * 5000),
]


@pytest.fixture
def client(serve, url):
    store = Store(url)
    Queue(store).submit("s", SPEC)
    store.close()
    return serve(url)


@pytest.mark.slow
def test_no_parameter_makes_a_page_fail(client):
    seen, model = set(), "adm-cifar10"
    for one in routes(client):
        if "GET" not in one.methods or one.path.endswith("/events"):
            continue
        path = filled(one.path, model if one.path.startswith("/models/") else "s")
        for name in asked(one.dependant):
            seen.add(name)
            for value in STRANGE:
                code = client.get(path, params={"model": model, name: value}).status_code
                assert code < 500, (path, name, value, code)
    assert {"steps", "next", "q", "state", "framework", "a", "page", "after"} <= seen


def test_no_name_makes_a_page_fail(client, bearer):
    names = ("%00", "a%00b", "%FF", "%ED%A0%80", "%0A", "%2F%2F", "%5B", "x" * 3000)
    for one in routes(client):
        if "{" in one.path:
            for name in names:
                for method in one.methods:
                    path = filled(one.path, name)
                    answer = client.request(method, AT + path, headers=bearer)
                    assert answer.status_code < 500, (method, path, answer)


def test_what_is_no_path_is_answered(tmp_path):
    with reachable(store=f"sqlite:///{tmp_path}/s.db") as address:
        port = int(address.rpartition(":")[2])
        targets = ("OPTIONS *", "GET *", "GET //[", "GET /?x=//[", "GET http://x/y", "CONNECT a:1")
        for host in (f"127.0.0.1:{port}", "[::1]:80", "[::1"):
            for target in targets:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
                    head = f"{target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n"
                    one.sendall(head.encode())
                    status = int(one.recv(100).split()[1])
                assert (status < 500 and status != 200) or "/?" in target, (target, host, status)


@pytest.mark.parametrize("next", ["//[", "//evil", "/\\[", "/\tx", "[", "http://[", "/" * 9000])
def test_where_nobody_can_be_led_is_the_first_page(service, next):
    assert service.get("/login", params={"next": next}).status_code == 200
    led = service.post("/login", data={"token": TOKEN, "next": next[:2100]})
    assert (led.status_code, led.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "place", ["/compare?a=1&b=2", "/models/a%26b", "/models/a%3Fb?q=x%26y", "/models/%CE%BB%0A"]
)
def test_signing_in_leads_back_to_all_that_was_asked_for(serve, place):
    client = serve(host="0.0.0.0")
    sent = client.get(place, headers={"Accept": "text/html"}).headers["location"]
    [next] = parse_qs(urlsplit(sent).query)["next"]
    form = client.get(sent, headers={"Accept": "text/html"}).text
    assert f'name="next" value="{next.replace("&", "&amp;")}"' in form
    assert next == place
    led = client.post("/login", data={"token": TOKEN, "next": next})
    assert led.headers["location"] == place


def test_pages_lead_to_the_login_and_back(serve):
    page = serve().get("/compare?a=&b=%26", headers={"Accept": "text/html"}).text
    assert 'href="/login?next=/compare%3Fa%3D%26b%3D%2526"' in page

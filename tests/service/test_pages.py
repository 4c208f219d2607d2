"""The first page, and signing in."""

import re

from tests.service.conftest import TOKEN


def test_the_first_page_of_an_empty_store_shows_what_was_published(service):
    page = service.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "adm-cifar10" in page.text


def test_who_signs_in_gets_a_cookie_that_no_script_reads(service):
    answer = service.post("/login", data={"token": TOKEN, "next": "/models"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/models")
    told = answer.headers["set-cookie"].lower()
    assert "httponly" in told and "samesite=strict" in told and TOKEN not in told


def test_wrong_tokens_are_refused_and_soon_not_heard(service):
    codes = [service.post("/login", data={"token": "x"}).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    assert service.post("/login", data={"token": TOKEN}).status_code == 303


def test_nobody_is_led_elsewhere(service):
    for place in ("//evil.example", "https://evil.example/x", "/\\evil.example", "x"):
        answer = service.post("/login", data={"token": TOKEN, "next": place})
        assert answer.headers["location"] == "/"
        shown = service.get("/login", params={"next": place}).text
        assert re.search('name="next" value="/"', shown)

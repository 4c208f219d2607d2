"""Passwords and tokens are shown nowhere: not in messages, not in what stands behind them."""

import traceback

import pytest

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import without_secrets
from lambda_search.store.store import Store

ADDRESSES = [
    "postgresql://me:hush@127.0.0.1:1/d",
    "postgresql://me:hush@127.0.0.1:1/d?connect_timeout=1",
    "postgresql://me@127.0.0.1:1/d?password=hush",
    "postgresql://me@127.0.0.1:1/d?sslpassword=hush&passfile=hush",
    "postgresql://me:ab/hush@127.0.0.1:1/d",
    "postgresql://me:ab%40hush@127.0.0.1:1/d",
    "postgresql://me:ab@hush@127.0.0.1:1/d",
    "postgresql://me:ab@hush/x@127.0.0.1:1/d",
    "postgresql://me:hush/d",
    "postgresql://127.0.0.1:hush",
    "postgresql://me:[hush@127.0.0.1:1/d",
    "postgres:/me:hush@h/d",
    "postgres//me:hush@h/d",
    "//me:hush@h/d",
    "me:hush@h/d",
    "postgre://me:hush@h/d",
    "mysql+pymysql://me:hush@h/d?token=hush",
    "postgresql+nothing://me:hush@h/d",
    "sqlite://me:hush@h/d",
    "sqlite:///x.db?key=hush",
    "https://me:hush@h/d",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LambdaSearchError) as caught:
        Store(address)
    error = caught.value
    told = "".join(traceback.format_exception(error))
    while error is not None:  # what is behind it too, shown or not
        told += f"{error!r} {error} {error.args}"
        error = error.__cause__ or error.__context__
    assert "hush" not in told.replace(repr(address), "")
    assert list(tmp_path.iterdir()) == [], "no file is named after it"


def test_the_shell_says_no_more(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("postgres//me:hush@h/d", "postgresql://me:hush@127.0.0.1:1/d?password=hush"):
        for command in (["status"], ["best", "m", "--steps", 4], ["doctor", "--quick"]):
            _, out, err = cli(*command, "--store", address)
            assert "hush" not in out + err
    assert [path.name for path in tmp_path.iterdir()] == ["home"], "doctor's data folder"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "at https://hf_hush@huggingface.co/a.bin failed",
            "at https://***@huggingface.co/a.bin failed",
        ),
        ("https://h/a?X-Amz-Signature=hush&b=1", "https://h/a?X-Amz-Signature=***&b=1"),
        ("ray://me:hush@h:10001", "ray://me:***@h:10001"),
        (
            "connection to host=h password=hush user=me",
            "connection to host=h password=*** user=me",
        ),
        ("connection with password='hu sh' user=me", "connection with password=*** user=me"),
        ("http://h:80/a@b and x@y", "http://h:80/a@b and x@y"),
        ("bundled:x@2, postgresql://USER@HOST/NAME", "bundled:x@2, postgresql://USER@HOST/NAME"),
    ],
)
def test_errors_are_without_the_secrets_of_addresses_in_them(text, shown):
    assert without_secrets(text) == shown
    assert UsageError(text, text).args == (shown, shown)
    assert first_line(OSError(text)) == shown

"""What can be said of Ray's token and TLS before any connection."""

import os
import subprocess
import sys

import pytest

from lambda_search.cluster.access import tls_told
from lambda_search.cluster.access import token_told
from lambda_search.errors import LambdaSearchError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def keep(path, mode, content="a" * 64):
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def test_without_a_token_it_says_how_several_hosts_get_one(monkeypatch, tmp_path):
    assert "ray get-auth-token --generate" in token_told()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(LambdaSearchError, match="cannot be read") as caught:
        token_told()
    assert "RAY_AUTH_MODE=token wherever" in caught.value.hint
    keep(tmp_path / ".ray" / "auth_token", 0o600).write_bytes(b"\xff")
    monkeypatch.delenv("RAY_AUTH_MODE")
    with pytest.raises(LambdaSearchError, match=r"^Ray's token in .*auth_token cannot be read"):
        token_told()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "can run anything" in token_told()
    monkeypatch.setenv("RAY_AUTH_MODE", "tokens")
    with pytest.raises(LambdaSearchError, match="tokens, which Ray does not know"):
        token_told()


def test_hosts_with_one_token_tell_one_digest_and_not_the_token(monkeypatch, tmp_path):
    token = "0123456789abcdef" * 4
    keep(tmp_path / ".ray" / "auth_token", 0o600, f"{token}\n")
    by_default = token_told()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(keep(tmp_path / "named", 0o600, token)))
    by_path = token_told()
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    told = [by_default, by_path, token_told()]
    assert len({one.partition(",")[0] for one in told}) == 1
    assert not any(token[:16] in one for one in told)
    monkeypatch.setenv("RAY_AUTH_TOKEN", token[1:] + "0")
    assert token_told().partition(",")[0] != by_path.partition(",")[0]


@pytest.mark.parametrize(
    ("mode", "content", "told"),
    [(0o644, "a", "can be read by others"), (0o600, " \n", "is empty"), (0o640, "a", "others")],
)
def test_a_token_that_cannot_serve_is_an_error(mode, content, told, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    path = keep(tmp_path / ".ray" / "auth_token", mode, content)
    with pytest.raises(LambdaSearchError, match=told) as caught:
        token_told()
    assert str(path) in str(caught.value)


@pytest.fixture
def files(tmp_path):
    """A certificate with its key, and another one's."""
    found = {}
    for name in ("own", "other"):
        key, cert = tmp_path / f"{name}.key", tmp_path / f"{name}.crt"
        told = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        told += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert]
        subprocess.run(told, check=True, capture_output=True)
        key.chmod(0o600)
        found[name] = cert, key
    return found


def use(monkeypatch, cert, key, authority):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_TLS_SERVER_CERT", str(cert))
    monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(key))
    monkeypatch.setenv("RAY_TLS_CA_CERT", str(authority))


def test_tls_is_off_or_its_files_belong_together(files, monkeypatch, tmp_path):
    assert tls_told().startswith("off") and "RAY_TLS_CA_CERT" in tls_told()
    (cert, key), (other, others_key) = files["own"], files["other"]
    use(monkeypatch, cert, key, other)
    assert tls_told().startswith("on")
    use(monkeypatch, cert, others_key, other)
    with pytest.raises(LambdaSearchError, match="no pair"):
        tls_told()
    use(monkeypatch, cert, key, keep(tmp_path / "no.pem", 0o600, "nothing"))
    with pytest.raises(LambdaSearchError, match="no pair"):
        tls_told()
    use(monkeypatch, cert, tmp_path / "none", other)
    with pytest.raises(LambdaSearchError, match="none cannot be read"):
        tls_told()
    key.chmod(0o644)
    use(monkeypatch, cert, key, other)
    with pytest.raises(LambdaSearchError, match="can be read by others"):
        tls_told()
    monkeypatch.delenv("RAY_TLS_CA_CERT")
    with pytest.raises(LambdaSearchError, match="RAY_TLS_CA_CERT not set"):
        tls_told()


def test_nobody_is_asked_for_the_password_of_a_key(files, monkeypatch):
    """Ray cannot use such a key; without a terminal OpenSSL would read what stands on stdin."""
    cert, key = files["own"]
    told = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:known", "-out"]
    subprocess.run([*told, closed := key.with_suffix(".closed")], check=True, capture_output=True)
    closed.chmod(0o600)
    use(monkeypatch, cert, closed, cert)
    asks = "from lambda_search.cluster.access import tls_told; print(tls_told())"
    found = subprocess.run(
        [sys.executable, "-c", asks], input=b"known\n", capture_output=True, start_new_session=True
    )
    assert b"are no pair" in found.stderr and not found.stdout

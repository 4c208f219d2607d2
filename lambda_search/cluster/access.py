"""Who may join a Ray cluster: its token and its TLS, as this host's environment has them.

Ray reads both from the environment of every process that it starts, on every host, and tells
nothing of them before a connection fails (Ray 2.60). So what can be seen here is looked at here.
Ray itself is not imported.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
from pathlib import Path

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import first_line

__all__ = ["tls_told", "token_told"]

_GENERATE = (
    "On one host: ray get-auth-token --generate; copy ~/.ray/auth_token to every other, with mode "
    "600, and set RAY_AUTH_MODE=token wherever Ray or lambda_search runs."
)
_TLS_FILES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
_TLS_STEP = (
    "Every host needs a certificate of its own from one authority, its key, and the authority's "
    f"certificate: RAY_USE_TLS=1 and {', '.join(_TLS_FILES)}."
)


def token_told() -> str:
    """What this host will say to a cluster that asks for a token; hosts tell the same digest.

    Raises:
        LambdaSearchError: if it asks for one and has none, or one that others can read.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return "off (RAY_AUTH_MODE): whoever reaches a cluster's ports can run anything there"
    if mode not in ("", "token"):
        raise LambdaSearchError(
            f"RAY_AUTH_MODE is {mode}, which Ray does not know.", "Set it to token, or disabled."
        )
    spoken = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if spoken:
        return f"{_digest(spoken)}, from RAY_AUTH_TOKEN{_unless(mode)}"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"
    if not mode and not path.is_file():
        return (
            "none; clusters on this machine alone have their own. For several hosts: " + _GENERATE
        )
    try:
        token, open_to = path.read_text().strip(), stat.S_IMODE(path.stat().st_mode) & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise LambdaSearchError(
            f"Ray's token in {path} cannot be read: {first_line(error)}.", _GENERATE
        ) from error
    if not token:
        raise LambdaSearchError(f"{path} is empty.", _GENERATE)
    if open_to and mode:
        raise LambdaSearchError(
            f"{path} can be read by others, who can then run anything on the cluster.",
            f"Close it: chmod 600 {path}",
        )
    return f"{_digest(token)}, from {path}{_unless(mode)}"


def tls_told() -> str:
    """Whether this host's Ray encrypts, with which files.

    Raises:
        LambdaSearchError: if it shall, and a file is missing, unreadable or open to others, or
            certificate and key do not belong together. Who signed them is not looked at.
    """
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return (
            "off: what hosts say to each other, the token too, is readable on the way. Keep "
            f"others out of their network, or turn it on. {_TLS_STEP}"
        )
    missing = [name for name in _TLS_FILES if not os.environ.get(name)]
    if missing:
        raise LambdaSearchError(f"RAY_USE_TLS is on, and {', '.join(missing)} not set.", _TLS_STEP)
    cert, key, authority = (Path(os.environ[name]) for name in _TLS_FILES)
    for path in (cert, key, authority):
        try:
            path.read_bytes()
        except OSError as error:
            raise LambdaSearchError(
                f"{path} cannot be read: {error.strerror or error}.", _TLS_STEP
            ) from error
    if stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise LambdaSearchError(f"{key} can be read by others.", f"Close it: chmod 600 {key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password="")  # else OpenSSL asks at the terminal for it
        context.load_verify_locations(authority)
    except (ssl.SSLError, ValueError) as error:
        raise LambdaSearchError(
            f"{cert}, {key} and {authority} are no pair with their authority: "
            f"{first_line(error)}.",
            _TLS_STEP,
        ) from error
    return f"on, with {cert}; certificate and key belong together"


def _digest(token: str) -> str:
    """Tells tokens apart without telling them."""
    return f"token {hashlib.sha256(token.encode()).hexdigest()[:6]}"


def _unless(mode: str) -> str:
    return "" if mode else " (RAY_AUTH_MODE is not set: Ray uses it where it finds it)"

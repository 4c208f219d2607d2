"""The token, and the signed cookie that stands for it in a browser.

A cookie holds when it was given and a number that the forms of its pages repeat (against forged
requests); it is signed with a key made from the token, so that a new token ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque

from itsdangerous import BadData
from itsdangerous import URLSafeTimedSerializer

__all__ = ["COOKIE", "SECONDS", "Attempts", "Sessions"]

COOKIE = "lambda_search"
SECONDS = 12 * 3600
"""For how long somebody stays signed in."""


class Sessions:
    """Who may write.

    Arguments:
        token: what they must know; "" is known to nobody.
    """

    def __init__(self, token: str) -> None:
        self._digest = _digest(token) if token else None
        self._signer = URLSafeTimedSerializer(
            _digest(f"cookies of {token}"), "lambda_search session"
        )

    @property
    def exist(self) -> bool:
        """Whether anybody can sign in at all."""
        return self._digest is not None

    def knows(self, token: str) -> bool:
        """Whether `token` is the one, in a time that does not depend on it."""
        found = _digest(token)
        return self._digest is not None and hmac.compare_digest(found, self._digest)

    def issue(self) -> str:
        """A new cookie."""
        return self._signer.dumps(secrets.token_urlsafe(24))

    def csrf_of(self, cookie: str) -> str:
        """What the forms of this cookie's pages repeat; "" if it is none of ours, or too old."""
        if self._digest is None:
            return ""
        try:
            return str(self._signer.loads(cookie, max_age=SECONDS))
        except BadData:
            return ""


class Attempts:
    """Failed attempts to sign in, of which one host may make so many in a minute.

    Arguments:
        most: in a minute.
    """

    def __init__(self, most: int = 5) -> None:
        self._most = most
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def seconds_to_wait(self, host: str) -> int:
        """How long `host` has to wait for its next one."""
        with self._lock:
            failed = self._recent(host)
            return 0 if len(failed) < self._most else max(1, int(60 - (_now() - failed[0])))

    def failed(self, host: str) -> None:
        """One has failed."""
        with self._lock:
            self._recent(host).append(_now())
            for other in [one for one in self._failed if not self._recent(one)]:
                del self._failed[other]

    def _recent(self, host: str) -> deque[float]:
        failed = self._failed.setdefault(host, deque(maxlen=self._most))
        while failed and _now() - failed[0] > 60:
            failed.popleft()
        return failed


def _now() -> float:
    return time.monotonic()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

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
_SPAN = 60.0


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
        self._ended: dict[str, float] = {}
        self._lock = threading.Lock()

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
            csrf = str(self._signer.loads(cookie, max_age=SECONDS))
        except BadData:
            return ""
        return "" if csrf in self._ended else csrf

    def end(self, cookie: str) -> None:
        """Ends what a cookie stands for, wherever else it is kept."""
        csrf = self.csrf_of(cookie)
        if not csrf:
            return
        with self._lock:  # until the cookie is too old by itself
            kept = {one: until for one, until in self._ended.items() if until > _now()}
            self._ended = kept | {csrf: _now() + SECONDS}


class Attempts:
    """Wrong tokens, of which one host may try so many in a minute, and all hosts together.

    What a host is called may be forged where a proxy is believed; the number of all is not.

    Arguments:
        most: of a host in a minute.
        in_all: of all.
    """

    def __init__(self, most: int = 5, in_all: int = 60) -> None:
        self._most = most
        self._failed: dict[str, deque[float]] = {}
        self._all: deque[float] = deque(maxlen=in_all)
        self._lock = threading.Lock()

    def wait_after(self, host: str) -> int:
        """Counts one more of `host`, if it may try; else for how many seconds it has to wait."""
        with self._lock:
            for one in [*self._failed]:
                if not _recent(self._failed[one]):
                    del self._failed[one]
            own = self._failed.setdefault(host, deque(maxlen=self._most))
            for failed in (own, _recent(self._all)):
                if len(failed) == failed.maxlen:
                    return max(1, int(_SPAN - (_now() - failed[0])))
            own.append(_now())
            self._all.append(_now())
            return 0


def _recent(failed: deque[float]) -> deque[float]:
    while failed and _now() - failed[0] > _SPAN:
        failed.popleft()
    return failed


def _now() -> float:
    return time.monotonic()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

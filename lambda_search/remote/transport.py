"""How a request leaves this machine: loaded with the first one, since most lookups send none."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from http.client import HTTPResponse
from typing import Any

__all__ = ["FAILURES", "Answer", "Opener", "Refusal", "Request", "opener"]

Answer = HTTPResponse
Opener = urllib.request.OpenerDirector
Refusal = urllib.error.HTTPError
Request = urllib.request.Request
FAILURES = (OSError, HTTPException)  # URLError is an OSError


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leads nowhere else: the token is for this address alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


def opener(here: bool) -> Opener:
    """Opens requests; those to this machine go through no proxy."""
    proxies = [urllib.request.ProxyHandler({})] if here else []
    return urllib.request.build_opener(_NoRedirects(), *proxies)

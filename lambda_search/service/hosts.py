"""Names of a server: which of them are its own, so that nobody else's page can speak for it.

A page elsewhere could give its own name this server's address, and then read what is here (DNS
rebinding); its browser still says that name, as Host or as Origin.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["host_of", "is_loopback", "is_own"]


def host_of(name: str) -> str:
    """The host of HOST:PORT, in small letters; "" for what is none."""
    try:
        return (urlsplit(f"//{name}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, for itself alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_own(name: str, host: str, others: Collection[str] = ()) -> bool:
    """Whether HOST:PORT names a server that listens at `host`.

    Itself, loopback, any address if it has all, or one of `others`. An address is no name that
    somebody else could own.
    """
    asked = host_of(name)
    if asked in ("localhost", host.lower(), *(one.lower() for one in others)):
        return True
    try:
        address = ip_address(asked)
        return address.is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return asked == socket.gethostname().lower() and host in ("0.0.0.0", "::")

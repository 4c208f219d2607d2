"""What a service is started with."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from lambda_search.service.hosts import is_loopback

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a service runs.

    Arguments:
        store: the store's URL; the default store unless given.
        host, port: where it listens.
        token: what a request that writes must bring; "" lets nobody write. It is never shown.
        public_read: whether reading needs no token where others than this machine can ask.
        roots: folders in which posted studies may name files.
        hub: repositories of the hub (OWNER/NAME) that posted studies may name.
        names: further host names that it is asked under, behind a proxy; with one, nothing that
            is asked is taken for this machine's own.
        log_json: whether each request is told in a line of JSON on stderr.
    """

    store: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    public_read: bool = False
    roots: tuple[Path, ...] = ()
    hub: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    log_json: bool = False

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach it, a proxy apart."""
        return is_loopback(self.host)

    @property
    def open_to_read(self) -> bool:
        """Whether somebody may read without the token."""
        return self.public_read or (self.is_local and not self.names)

    @property
    def address(self) -> str:
        """Its URL, for people."""
        at = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{at}:{self.port}"

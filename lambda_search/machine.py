"""What of this machine may be used: a batch job or a container is allowed a part of it.

A process may run on the cores of its affinity, and for a share of time that its control groups
grant. Groups lie in each other, and the tightest limit holds. Version 1 has a tree of groups for
each controller, version 2 one tree for all (Linux, Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["cores", "cores_present", "memory", "running_system"]

_PROCESS = Path("/proc/self")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def cores_present() -> int:
    """The cores that the machine has, at least 1."""
    return os.cpu_count() or 1


def cores() -> int:
    """The cores that this process may use, at least 1; of a quota the whole ones."""
    allowed = cores_present()
    if hasattr(os, "sched_getaffinity"):
        allowed = min(allowed, len(os.sched_getaffinity(0)))
    for group in _groups("cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = _quota(group)
            if quota > 0:
                allowed = min(allowed, quota // period)
    return max(allowed, 1)


def memory() -> int:
    """The bytes of memory that this process may use."""
    allowed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _groups("memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no limit
                allowed = min(allowed, int((group / name).read_text()))
    return allowed


def running_system() -> str:
    """What tells the system that runs here from any other: all its containers have the same.

    Linux draws it anew at each start; elsewhere it is the host's name.
    """
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return socket.gethostname()


def _quota(group: Path) -> tuple[int, int]:
    """Microseconds of cores' time that may be used in each period of so many."""
    if (group / "cpu.max").exists():
        quota, period = (group / "cpu.max").read_text().split()
    else:
        quota = (group / "cpu.cfs_quota_us").read_text()
        period = (group / "cpu.cfs_period_us").read_text()
    return int(quota), int(period)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in, each tree's innermost first."""
    with suppress(OSError, ValueError):  # no Linux, or one that writes it otherwise
        paths = dict(_paths())
        for name, root, mounted in _trees(controller):
            path = paths.get(name, "/")
            below = path.removeprefix(root.rstrip("/")).strip("/") if _within(path, root) else ""
            innermost = mounted / below
            yield from (one for one in (innermost, *innermost.parents) if _within(one, mounted))


def _paths() -> Iterator[tuple[str, str]]:
    """For each controller the process's group in its tree; version 2's tree has the name ""."""
    for line in (_PROCESS / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            yield name, path


def _trees(controller: str) -> Iterator[tuple[str, str, Path]]:
    """The trees that may limit `controller`: name, the group at the mount, where it is mounted."""
    for line in (_PROCESS / "mountinfo").read_text().splitlines():
        place, _, rest = line.partition(" - ")
        root, mounted = (_plain(word) for word in place.split()[3:5])
        file_system, *_, options = rest.split()
        if file_system == "cgroup2":
            yield "", root, Path(mounted)
        elif file_system == "cgroup" and controller in options.split(","):
            yield controller, root, Path(mounted)


def _within(path: str | Path, folder: str | Path) -> bool:
    return Path(path).is_relative_to(folder) and ".." not in Path(path).parts


def _plain(word: str) -> str:
    """A path of `mountinfo`, which writes blanks as octal numbers."""
    for code in ("\\040", "\\011", "\\012", "\\134"):
        word = word.replace(code, chr(int(code[1:], 8)))
    return word

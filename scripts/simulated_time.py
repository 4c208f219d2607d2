"""A clock for simulations beside a real program: it runs fast while that has nothing to do.

While a thread of this process computes, the clock advances by the CPU time that it takes; while a
thread waits for a core that other programs have, it stands still; while all sleep, it runs `speed`
times as fast as real time. So the program's own work takes as long as on a machine of its own,
however busy this one is; its timers and its disk alone seem `speed` times as slow.

Linux tells both times for each thread (/proc/self/task/*/schedstat). Threads that compute side by
side count one after the other, as most do that share Python's lock.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["Clock"]

_TASKS = Path("/proc/self/task")


class Clock:
    """Simulated time. One thread lets it advance; all may read it.

    Arguments:
        speed: simulated seconds in a real one in which nothing is computed.

    `now` is in simulated seconds; `own` in seconds of a process that has its cores for itself;
    both from 0.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._real = time.monotonic()
        self._cpu = time.process_time()
        self._waited: dict[str, int] = {}
        self._delays()
        self.now = self.own = 0.0

    def advance(self, apart: float = 0.0) -> None:
        """Catches up with what happened since the last call.

        Arguments:
            apart: CPU seconds since then that are not the program's.
        """
        real, cpu = time.monotonic(), time.process_time()
        passed, busy = real - self._real, cpu - self._cpu
        self._real, self._cpu = real, cpu
        idle = max(0.0, passed - busy - self._delays())
        busy = max(0.0, busy - apart)
        self.own += busy + idle
        self.now += busy + self._speed * idle

    def _delays(self) -> float:
        """Seconds for which threads waited for a core since the last call."""
        before, self._waited = self._waited, {}
        total = 0
        for task in _TASKS.iterdir():
            try:
                waited = int((task / "schedstat").read_bytes().split()[1])
            except OSError:  # it has ended
                continue
            self._waited[task.name] = waited
            total += waited - before.get(task.name, waited)
        return total / 1e9

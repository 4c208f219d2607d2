"""Asks the autoscaler of a running Ray cluster for GPUs for as long as a command runs.

    python with_gpus.py COUNT COMMAND ...

`lambda-search drive` follows nodes that come and go; it asks for none itself, and with `--gpus 1`
one has to be there when it begins. So this asks for COUNT workers of one GPU and one CPU, waits
for the first, runs COMMAND, and lets go of all, whatever became of it: nodes that idle then end.
Where nothing scales the cluster, it only waits. COUNT 0 without a command lets go of what a run
that was killed had asked for.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources

LOOK_SECONDS = 5.0


@contextmanager
def connected() -> Iterator[None]:
    """The cluster of this host; the command itself is a driver of its own."""
    ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def ask(count: int) -> None:
    """Has the autoscaler make room for `count` workers in all, and for no more than are busy."""
    request_resources(bundles=[{"CPU": 1, "GPU": 1}] * count)


def wait_for_one() -> None:
    """Returns once the cluster has a GPU, whoever uses it."""
    print("with_gpus: waiting for the first GPU", file=sys.stderr, flush=True)
    while ray.cluster_resources().get("GPU", 0) < 1:
        time.sleep(LOOK_SECONDS)


def run(command: list[str]) -> int:
    """Runs it to its end; its exit code.

    It has a session of its own and is handed what ends this process, so that it hears of it once.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def hand_on(number: int, _: Any) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    child = subprocess.Popen(command, start_new_session=True)
    for number in early:
        child.send_signal(number)
    code = child.wait()
    return code if code >= 0 else 128 - code


def let_go() -> None:
    """Asks for nothing more; a cluster that is gone is no error of the command's."""
    try:
        with connected():
            ask(0)
    except Exception as error:  # ray raises many kinds here
        told = str(error).partition("\n")[0]
        print(f"with_gpus: the autoscaler cannot be told to let go: {told}", file=sys.stderr)


def main(count: int, command: list[str]) -> int:
    """Asks, waits, runs, lets go."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if command:
            with connected():
                ask(count)
                wait_for_one()
            return run(command)
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        let_go()


if __name__ == "__main__":
    words = sys.argv[1:]
    if not words or not words[0].isdigit() or (words[0] == "0") != (len(words) == 1):
        sys.exit(__doc__)
    sys.exit(main(int(words[0]), words[1:]))

"""A worker without torch, which starts in a second, and tasks for it. Imports nothing heavy."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

VERSIONS = {"torch": "2.9.1"}


def light_worker(folder):
    """A class for actors that do as files in `folder` say: `fail`, `hang`, `kind`, `torch`."""

    class Worker:
        def __init__(self):
            if (folder / "fail").exists():
                (folder / f"failed-{os.getpid()}").touch()
                raise RuntimeError("CUDA driver version is insufficient")
            while (folder / "hang").exists():
                (folder / f"hangs-{os.getpid()}").touch()
                time.sleep(0.1)

        def ready(self):
            return self.says("kind", "A100"), "host-7", {"torch": self.says("torch", "2.9.1")}

        def says(self, name, otherwise):
            path = folder / name
            return path.read_text() if path.exists() else otherwise

        def run(self, task):
            return task.run(None), 0.25

    return Worker


@dataclass(frozen=True)
class Square:
    value: int

    def run(self, bench):
        return self.value**2


@dataclass(frozen=True)
class Nap:
    """Says who slept."""

    seconds: float = 0.0

    def run(self, bench):
        time.sleep(self.seconds)
        return os.getpid()


@dataclass(frozen=True)
class Die:
    def run(self, bench):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Recalled:
    """Its worker gets the notice that ends it, the first time; then it says who ran it."""

    folder: Path

    def run(self, bench):
        if not (self.folder / "recalled").exists():
            (self.folder / "recalled").touch()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return os.getpid()


@dataclass(frozen=True)
class Sick:
    """The first worker that does it never finds anything finite; others say who they are."""

    folder: Path

    def run(self, bench):
        from lambda_search.errors import Diverged

        sick = self.folder / "sick"
        if not sick.exists():
            sick.write_text(str(os.getpid()))
        if sick.read_text() == str(os.getpid()):
            raise Diverged("The sampled images are NaN.", "Ask another.")
        return os.getpid()


@dataclass(frozen=True)
class Away:
    """The first worker that does it sees no place, or none does; others say who they are."""

    folder: Path
    everywhere: bool = False

    def run(self, bench):
        from lambda_search.work.storage import PlaceAway

        away = self.folder / "away"
        if not away.exists():
            away.write_text(str(os.getpid()))
        if self.everywhere or away.read_text() == str(os.getpid()):
            raise PlaceAway(f"{os.getpid()} does not see the place.", "Share one.")
        return os.getpid()


@dataclass(frozen=True)
class Crash:
    def run(self, bench):
        raise ZeroDivisionError("by nothing")


@dataclass(frozen=True)
class Ones:
    """An array of so many MB, inside a tuple as features are."""

    megabytes: int

    def run(self, bench):
        import numpy as np

        return (np.ones((self.megabytes, 2**18), np.float32),)


class Unsendable:
    def __reduce__(self):
        raise ValueError("made of stone")

    def run(self, bench):
        return None

"""Kinds of device that tasks wait for and nobody has: since when, and for how much longer."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

__all__ = ["Absences"]


class Absences:
    """Watches what is missing.

    Arguments:
        patience: seconds that are waited. Starts begun in that time may still come up; later ones
            do not count, so that the wait has an end.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str | None, float] = {}

    def expired(
        self,
        missed: Iterable[str | None],
        coming: Callable[[str | None, float], bool],
        now: float,
    ) -> list[str | None]:
        """Which of `missed` were waited for in vain; their time begins anew.

        Arguments:
            missed: all that is missing now; None stands for any kind.
            coming: whether a worker that was started by then may be of that kind.
            now: the time.
        """
        self._since = {kind: self._since.get(kind, now) for kind in missed}
        over = []
        for kind, since in self._since.items():
            until = since + self._patience
            if now >= until and not coming(kind, until):
                over.append(kind)
        for kind in over:
            del self._since[kind]
        return over

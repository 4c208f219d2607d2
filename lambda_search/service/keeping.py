"""What was drawn for a page, kept until it is no longer true: drawing takes a part of the time.

Of a study that runs something changes every second, and every page that is open asks anew. So
what is loose may be late by ten times as long as drawing took: then each of the last few pages
takes no more than a tenth of a core, however many look.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Kept"]

_MOST = 4
"""Pages: that of a study of 300 trials takes 1 to 1.5 MB."""
_TIMES = 10
"""As long as drawing took."""


@dataclass(frozen=True)
class _Drawn:
    firm: Any
    loose: Any
    value: Any
    until: float

    def serves(self, firm: Any, loose: Any) -> bool:
        if self.firm != firm:
            return False
        return bool(self.loose == loose) or time.monotonic() < self.until


class Kept:
    """What was drawn for the last few names; one at a time is drawn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._known: OrderedDict[str, _Drawn] = OrderedDict()

    def get(self, name: str, firm: Any, loose: Any, draw: Callable[[], Any]) -> Any:
        """What `draw` gives, or gave.

        Arguments:
            name: of what is drawn.
            firm: when it differs from before, it is drawn anew.
            loose: when it differs, it is drawn anew as often as that costs little.
            draw: draws it.
        """
        found = self._found(name)
        if found is not None and found.serves(firm, loose):
            return found.value
        late = found is not None and found.firm == firm
        if not self._drawing.acquire(blocking=not late):
            assert found is not None
            return found.value  # while another one draws
        try:
            found = self._found(name)
            if found is None or not found.serves(firm, loose):
                found = _drawn(firm, loose, draw)
                with self._lock:
                    self._known[name] = found
                    while len(self._known) > _MOST:
                        self._known.popitem(last=False)
            return found.value
        finally:
            self._drawing.release()

    def _found(self, name: str) -> _Drawn | None:
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
            return self._known.get(name)


def _drawn(firm: Any, loose: Any, draw: Callable[[], Any]) -> _Drawn:
    began = time.monotonic()
    value = draw()
    ended = time.monotonic()
    return _Drawn(firm, loose, value, ended + _TIMES * (ended - began))

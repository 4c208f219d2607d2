"""What happens in a study, as one stream: terminal, table `ls_event` and pages listen to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from typing import Protocol

from lambda_search.errors import without_secrets
from lambda_search.records import Event
from lambda_search.records import EventKind

__all__ = ["Events", "Listener"]


class Listener(Protocol):
    """Is handed every event, in order; it must not block, and must not raise."""

    def __call__(self, event: Event) -> None: ...


class Events:
    """The events of one study.

    Arguments:
        study: its name.
        listeners: who is told.
    """

    def __init__(self, study: str, listeners: Sequence[Listener] = ()) -> None:
        self._study = study
        self._listeners = tuple(listeners)

    def say(self, kind: EventKind, text: str) -> None:
        """Something happened; `text` is one line for people."""
        event = Event(self._study, kind, without_secrets(text), datetime.now(UTC))
        for listener in self._listeners:
            listener(event)

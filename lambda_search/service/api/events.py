"""What happens in a study, as it happens: server-sent events.

`id` is the event's number, so that a browser goes on where it was (`Last-Event-ID`). Between them
come `progress`, without a number, and comments, so that nobody takes the line for dead; `end` is
the last. While the store is away the stream waits for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated
from typing import Any

from fastapi import APIRouter
from fastapi import Header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.responses import StreamingResponse

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UnknownName
from lambda_search.records import Event
from lambda_search.service.context import Context
from lambda_search.service.context import Here
from lambda_search.service.problems import answers
from lambda_search.service.visitors import host_asking
from lambda_search.service.words import LARGEST
from lambda_search.service.words import After
from lambda_search.service.words import Name
from lambda_search.standings import event_facts

__all__ = ["router"]

router = APIRouter(tags=["studies"])
_LOOK_SECONDS = 1.0
_BEAT_SECONDS = 15.0
_TOGETHER = 256
"""Events at a time: few writes to a line that may be gone."""
_MOST, _MOST_OF = 256, 16
"""Streams at a time, and those of one host."""
_STREAM = {
    "description": "Events.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.get("/studies/{name}/events", responses={200: _STREAM, 204: {}, **answers(404, 429)})
async def events(
    request: Request,
    service: Here,
    name: Name,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> Response:
    """The events of a study from the first on, or those after `Last-Event-ID` (or `after`).

    204 says that it has ended, and nothing comes after.
    """
    told = last_event_id or ""
    number = min(int(told), LARGEST) if told.isdecimal() else (after or 0)
    look = _Look(service, name)
    found = await run_in_threadpool(look.now, number)
    if found.ended and number and not found.events:
        return Response(status_code=204)
    host = host_asking(request.scope)
    if service.streams.total() >= _MOST:
        raise HTTPException(503, "Too many streams are open.")
    if service.streams[host] >= _MOST_OF:
        raise HTTPException(429, f"At most {_MOST_OF} streams are open to one host.")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _stream(look, number, host), headers=headers, media_type="text/event-stream"
    )


class _Found:
    """What is new of a study."""

    def __init__(self, events: list[Event], progress: dict[str, Any] | None, state: str) -> None:
        self.events = events
        self.progress = progress
        self.state = state

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


class _Look:
    """Looks at one study."""

    def __init__(self, service: Context, name: str) -> None:
        self.service = service
        self._name = name

    def now(self, after: int) -> _Found:
        """What is new after an event."""
        store = self.service.store
        study = store.study(self._name)  # before its events: what ends it is among them
        driven = store.is_driven(study)
        state = "queued" if study.state == "running" and not driven else study.state
        told = study.progress.to_json() if driven and study.progress is not None else None
        progress = None if told is None else told | {"driver": study.driver}
        return _Found(store.events(self._name, after), progress, state)


async def _stream(look: _Look, number: int, host: str) -> AsyncIterator[str]:
    service = look.service
    service.streams[host] += 1
    try:
        yield "retry: 2000\n\n"
        progress: dict[str, Any] | None = None
        said = time.monotonic()
        while not service.stopping.is_set():
            try:
                found = await run_in_threadpool(look.now, number)
            except UnknownName:
                yield _event("end", {"state": "removed"})
                return
            except LambdaSearchError:
                await run_in_threadpool(service.stores.forget)
                yield ": the store is away\n\n"
                await _pause(service, 2 * _LOOK_SECONDS)
                continue
            for start in range(0, len(found.events), _TOGETHER):
                several = found.events[start : start + _TOGETHER]
                number = several[-1].number
                yield "".join(map(_numbered, several))
            if found.progress is not None and found.progress != progress:
                progress = found.progress
                yield _event("progress", progress)
                said = time.monotonic()
            if found.ended:
                yield _event("end", {"state": found.state})
                return
            if time.monotonic() - said > _BEAT_SECONDS or found.events:
                said = time.monotonic()
                yield ": alive\n\n"
            await _pause(service, _LOOK_SECONDS)
    finally:
        service.streams -= Counter([host])  # hosts without one are left out


async def _pause(service: Context, seconds: float) -> None:
    """Waits, and not when the service is about to end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not service.stopping.is_set():
        await asyncio.sleep(0.1)


def _numbered(one: Event) -> str:
    return f"id: {one.number}\n{_event(one.kind, event_facts(one))}"


def _event(kind: str, told: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(told)}\n\n"

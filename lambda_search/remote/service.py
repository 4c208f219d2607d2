"""What can be asked of a service, each word as a store has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import UTC
from datetime import datetime
from typing import IO
from typing import Any
from urllib.parse import quote
from urllib.parse import urlencode

from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.records import Attempt
from lambda_search.records import Match
from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import match_from_json
from lambda_search.records import row_from_json
from lambda_search.remote.connection import Connection
from lambda_search.remote.connection import understood

__all__ = ["COMMANDS", "Service", "no_store", "service_at"]

COMMANDS = "best, rows, submit, status, wait, stop, resume, confirm, export and db import"
"""What can be said to a service."""
_ALL = 10**6
"""Events."""


class Service(Connection):
    """The service at an address.

    Arguments:
        address: http://HOST:PORT or https://….

    Raises (every method):
        NoScheduleFound, UnknownName, Conflict, UsageError: as with a store.
        LambdaSearchError: if it cannot be reached, or fails.
    """

    missing = None
    """It never is: `Store.missing`."""

    # The lookup

    def best(self, model: str, wanted: Mapping[str, Any]) -> Row:
        """As `lookup.best`."""
        return _row(self.json("/v1/schedules/best", _asked(model, wanted)))

    def nearest(self, model: str, wanted: Mapping[str, Any]) -> Match:
        """As `lookup.nearest`."""
        told = self.json("/v1/schedules/best", _asked(model, wanted) | {"nearest": True})
        with understood():
            return match_from_json(told)

    def matches(self, model: str, wanted: Mapping[str, Any]) -> list[Row]:
        """As `lookup.matches`, and without a step count as `lookup.listed`."""
        asked = _asked(model, wanted)
        return [_row(one) for one in self.pages("/v1/schedules/matches", "rows", asked)]

    def how_many(self, model: str, wanted: Mapping[str, Any]) -> int:
        """As `lookup.how_many`."""
        asked = _asked(model, wanted) | {"limit": 1}
        return int(self.json("/v1/schedules/matches", asked)["total"])

    def under_way(self, model: str) -> list[str]:
        """The studies of a model that wait or run, a phrase each."""
        return list(self.json("/v1/schedules/under-way", {"model": model})["under_way"])

    def models_of(self, weights: str) -> list[str]:
        """As `Store.models_of`."""
        found = self.pages("/v1/models", "models", {"q": weights})
        return [str(one["name"]) for one in found if weights in one["weights"]]

    def row(self, id: str) -> Row:
        """As `lookup.row`."""
        return _row(self.json(f"/v1/rows/{quote(id, safe='')}"))

    def instead_of(self, id: str) -> Row | None:
        """The row that stands instead of another; None if it stands."""
        other = self.json(f"/v1/rows/{quote(id, safe='')}")["superseded_by"]
        return None if other is None else self.row(other)

    # Studies

    def studies(self) -> list[dict[str, Any]]:
        """How all studies stand (`standings.facts`), the latest first."""
        return list(self.pages("/v1/studies", "studies", {}))

    def study_facts(self, name: str) -> dict[str, Any]:
        """How a study stands, its file, attempts and events."""
        return self._facts(name, _ALL)

    def _facts(self, name: str, events: int) -> dict[str, Any]:
        """The same with the last few events alone."""
        return dict(self.json(f"/v1/studies/{quote(name, safe='')}", {"events": events}))

    def study(self, name: str) -> Study:
        """A study, as far as a service tells it."""
        return _study(self._facts(name, 0))

    def row_of(self, name: str) -> Row:
        """The last row of a study that is done."""
        with understood():
            return self.row(str(self._facts(name, 0)["row"]["id"]))

    def submit(self, text: str, files: Mapping[str, bytes]) -> list[Study]:
        """Queues the studies of a file, with the files that it names."""
        try:
            carried = {name: content.decode() for name, content in files.items()}
        except UnicodeDecodeError as error:
            raise UsageError(
                "A config or prompt file is not UTF-8, and a service takes no other.",
                "Save it as UTF-8.",
            ) from error
        body = json.dumps({"study": text, "files": carried}).encode()
        told = self.json("/v1/studies", body=body)
        return [self.study(one["study"]) for one in told["studies"]]

    def stop(self, name: str) -> Study:
        """As `studies.stop`."""
        place = f"/v1/studies/{quote(name, safe='')}"
        self.json(place, method="DELETE")
        return self.study(name)

    def resume(self, name: str) -> Study:
        """As `studies.resume`."""
        self.json(f"/v1/studies/{quote(name, safe='')}/resume", body=b"")
        return self.study(name)

    def confirm(self, name: str, changed: Mapping[str, Any]) -> Study:
        """As `studies.confirm`."""
        body = json.dumps({key: value for key, value in changed.items() if value is not None})
        self.json(f"/v1/studies/{quote(name, safe='')}/confirm", body=body.encode())
        return self.study(name)

    def nobody_drives(self) -> bool:
        """As `studies.nobody_drives`."""
        return bool(self.json("/v1/studies", {"limit": 1})["nobody_drives"])

    # Files of rows

    def export(self, models: Sequence[str], form: str) -> Iterator[bytes]:
        """A file of rows, piece by piece."""
        asked = [("format", form), *(("model", model) for model in models)]
        with self.answer("GET", f"/v1/rows?{urlencode(asked)}") as answer:
            while piece := answer.read(1 << 16):
                yield piece

    def import_rows(self, file: IO[bytes]) -> dict[str, int]:
        """Sends a file of rows in; what became of them."""
        return dict(self.json("/v1/rows", body=file.read()))


def service_at(store: object) -> Service | None:
    """The service that is meant where a store may stand; None if it is a store.

    Arguments:
        store: a store, a service, or an address; the default store's for None.
    """
    if isinstance(store, Service):
        return store
    if not isinstance(store, str | None):
        return None
    url = store_url(store)
    return Service(url) if url.lower().startswith(("http://", "https://")) else None


def no_store() -> UsageError:
    """The error that a service's address stands where the store itself is needed."""
    return UsageError(
        "That is the address of a service, and no database.",
        f"A service can be asked with {COMMANDS}; the rest needs the store itself.",
    )


def _row(told: Mapping[str, Any]) -> Row:
    with understood():
        return row_from_json({name: it for name, it in told.items() if name != "superseded_by"})


def _study(told: Mapping[str, Any]) -> Study:
    with understood():
        return Study(
            id=0,
            name=told["study"],
            spec=told["spec"],
            base="",
            state=told["state"],
            message=told["message"],
            setting=None,
            steps=None,
            identity=None,
            decisive=None,
            attempts=tuple(
                Attempt(
                    one["driver"],
                    datetime.fromisoformat(one["began"]),
                    None if one["ended"] is None else datetime.fromisoformat(one["ended"]),
                    one["outcome"],
                    one["reason"],
                )
                for one in told["attempts"]
            ),
            stop_wanted=False,
            progress=None,
            fence=0,
            driver=told["driver"] or "",
            created=datetime.fromisoformat(told["created"]).astimezone(UTC),
            updated=datetime.fromisoformat(told["updated"]).astimezone(UTC),
            door=told["door"],
        )


def _asked(model: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A question as a service is asked it.

    Raises:
        UsageError: for what it cannot be asked.
    """
    told = {"guidance": 1} if "guidance" in wanted and wanted["guidance"] is None else {}
    asked = {"model": model, **wanted, **told}
    for name, value in asked.items():
        if not isinstance(value, str | int | float):
            raise UsageError(
                f"A service cannot be asked for {name}={value!r}.", "Ask the store itself."
            )
    return asked

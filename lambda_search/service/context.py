"""What routes and pages stand on: the settings, the store, and the templates."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property
from typing import Annotated
from typing import Any
from typing import TypeAlias
from typing import cast

from fastapi import Depends
from jinja2 import Environment
from jinja2 import PackageLoader
from jinja2 import StrictUndefined
from starlette.requests import HTTPConnection
from starlette.requests import Request
from starlette.responses import HTMLResponse

from lambda_search.service.answers import Answers
from lambda_search.service.files import PLOTLY
from lambda_search.service.filters import FILTERS
from lambda_search.service.filters import dumps
from lambda_search.service.keeping import Kept
from lambda_search.service.metrics import Metrics
from lambda_search.service.sessions import Attempts
from lambda_search.service.sessions import Sessions
from lambda_search.service.settings import Settings
from lambda_search.service.stores import Stores
from lambda_search.service.visitors import visitor_of
from lambda_search.spec import Bounds
from lambda_search.store.store import Store

__all__ = ["Context", "Here", "context_of"]


@dataclass
class Context:
    """A running service.

    Arguments:
        settings: what it was started with.
        stores: gives the store.
        sessions: who may write.
        attempts: wrong tokens.
        stopping: is set when it is about to end; streams heed it.
        metrics: what is counted.
        streams: how many are open, by host.
    """

    settings: Settings
    stores: Stores
    sessions: Sessions
    attempts: Attempts = field(default_factory=Attempts)
    stopping: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)
    streams: Counter[str] = field(default_factory=Counter)

    @property
    def store(self) -> Store:
        """The store; StoreAway if it cannot be opened now, which is answered with 503."""
        return self.stores()

    @cached_property
    def answers(self) -> Answers:
        """Lookups that were answered before."""
        return Answers(self.stores)

    @cached_property
    def drawn(self) -> Kept:
        """Pages' figures and tables that were drawn before."""
        return Kept()

    @cached_property
    def bounds(self) -> Bounds:
        """What posted studies may name."""
        return Bounds.of(self.settings.roots, self.settings.hub)

    @cached_property
    def templates(self) -> Environment:
        """The templates of the pages; what is filled in is escaped."""
        made = Environment(
            loader=PackageLoader("lambda_search.service"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.policies["json.dumps_function"] = dumps
        made.filters |= FILTERS
        made.globals["plotly"] = PLOTLY
        return made

    def page(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page from a template.

        Beside `values` it knows `visitor`, `request`, and `settings`.
        """
        text = self.templates.get_template(template).render(
            request=request, visitor=visitor_of(request), settings=self.settings, **values
        )
        return HTMLResponse(text, status)


def context_of(connection: HTTPConnection) -> Context:
    """The service that answers."""
    return cast(Context, connection.app.state.context)


Here: TypeAlias = Annotated[Context, Depends(context_of)]
"""The type of a route's argument that is the service."""

"""REST, version 1: what programs ask a service."""

from __future__ import annotations

from fastapi import APIRouter

from lambda_search.service.api import events
from lambda_search.service.api import lookups
from lambda_search.service.api import models
from lambda_search.service.api import rows
from lambda_search.service.api import studies

__all__ = ["router"]

router = APIRouter(prefix="/v1")
for module in (lookups, models, rows, events, studies):
    router.include_router(module.router)

"""The pages, one module a kind; each has a router that is included here."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Depends

from lambda_search.service.access import check_form
from lambda_search.service.pages import index
from lambda_search.service.pages import login

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[Depends(check_form)])
for module in (index, login):
    router.include_router(module.router)

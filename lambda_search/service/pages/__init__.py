"""The pages, one module a kind; each has a router that is included here."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi import Depends

from lambda_search.service.access import check_form
from lambda_search.service.pages import comparing
from lambda_search.service.pages import evidence
from lambda_search.service.pages import index
from lambda_search.service.pages import login
from lambda_search.service.pages import looks
from lambda_search.service.pages import models
from lambda_search.service.pages import posting
from lambda_search.service.pages import rows
from lambda_search.service.pages import studies
from lambda_search.service.pages import study

__all__ = ["router"]

router = APIRouter(include_in_schema=False, dependencies=[Depends(check_form)])
# an address that begins as another's does comes before it
for module in (index, models, rows, comparing, posting, studies, study, evidence, login, looks):
    router.include_router(module.router)

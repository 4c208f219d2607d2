"""A form for a study file: pasted or uploaded, and what is wrong with it said line by line."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter
from fastapi import File
from fastapi import Form
from fastapi import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.responses import Response

from lambda_search.errors import UsageError
from lambda_search.service.api.studies import post_studies
from lambda_search.service.context import Context
from lambda_search.service.context import Here
from lambda_search.service.pages.complaints import Complaint
from lambda_search.service.pages.complaints import complaints_of
from lambda_search.spec import registered

__all__ = ["router"]

router = APIRouter()
_LARGEST = 1 << 18
EXAMPLE = """\
name: my-model
model:
  framework: diffusers
  checkpoint: owner/model
sampler:
  name: ddim
  steps: [10, 20, 50]      # a list makes one study per step count
search:
  mean: [0.99, 1.05]
  slope: [-0.002, 0.004]
  trials: 40
metric:
  name: fid
  extractor: inception-clean
  reference: clean-fid:cifar10/train/32
  rungs: [500, 1000, 2000]
confirm:
  top: 3
  samples: 50000
"""


@router.get("/studies/new")
def ask(request: Request, service: Here) -> Response:
    """The empty form."""
    return _page(request, service, "")


@router.post("/studies/new")
def queue(
    request: Request,
    service: Here,
    study: Annotated[str, Form()] = "",
    file: Annotated[UploadFile | None, File()] = None,
    files: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Queues what was sent, or says what is wrong with it."""
    text = study.replace("\r\n", "\n")
    try:
        if file is not None and file.filename:
            text = _read(file)
        if not text.strip():
            raise UsageError("There is no study.", "Paste a study file, or choose one.")
        sent = {one.filename: _read(one) for one in files or () if one.filename}
        found = post_studies(service, text, sent)
    except UsageError as error:
        return _page(request, service, text, error, 400)
    if len(found) == 1:
        return RedirectResponse(f"/studies/{quote(found[0].name, safe='')}", 303)
    return RedirectResponse("/studies", 303)


def _read(file: UploadFile) -> str:
    """A file's text.

    Raises:
        UsageError: if it is none, or too large.
    """
    content = file.file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError("A file is too large.", f"At most {_LARGEST:,} bytes are taken of each.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError("A file is no text in UTF-8.", "Send a study file.") from error


def _page(
    request: Request,
    service: Context,
    text: str,
    error: UsageError | None = None,
    status: int = 200,
) -> Response:
    complaints: list[Complaint] = [] if error is None else complaints_of(error, text)
    return service.page(
        request,
        "new.html",
        status,
        text=text,
        complaints=complaints,
        wrong={one.line for one in complaints if one.line is not None},
        hint="" if error is None else error.hint,
        example=EXAMPLE,
        known=registered(),
        hub=sorted(service.bounds.hub),
        roots=bool(service.bounds.roots),
    )

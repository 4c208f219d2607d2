"""A form for a study file: pasted or uploaded, and what is wrong with it said line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
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
from lambda_search.errors import printable
from lambda_search.service.api.studies import LARGEST_FILE
from lambda_search.service.api.studies import LARGEST_STUDY
from lambda_search.service.api.studies import post_studies
from lambda_search.service.context import Context
from lambda_search.service.context import Here
from lambda_search.service.pages.complaints import Complaint
from lambda_search.service.pages.complaints import complaints_of
from lambda_search.spec import named_files
from lambda_search.spec import parse_specs
from lambda_search.spec import registered

__all__ = ["router"]

router = APIRouter()
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
            text = _read(file, LARGEST_STUDY)
        if not text.strip():
            raise UsageError("There is no study.", "Paste a study file, or choose one.")
        found = post_studies(service, text, _named(text, files or ()))
    except UsageError as error:
        return _page(request, service, text, error, 400)
    if len(found) == 1:
        return RedirectResponse(f"/studies/{quote(found[0].name, safe='')}", 303)
    return RedirectResponse("/studies", 303)


def _named(text: str, files: Sequence[UploadFile]) -> dict[str, str]:
    """What was uploaded, by the names that the study file has for it.

    A browser tells the last part of a name alone; where that is enough, it is.

    Raises:
        UsageError: if it is not, or two files have one name.
    """
    sent: dict[str, str] = {}
    for one in files:
        if one.filename:
            if one.filename in sent:
                raise UsageError(f"Two files are named {printable(one.filename)}.", _APART)
            sent[one.filename] = _read(one, LARGEST_FILE)
    whole, named = _BaseNames(sent), dict[str, str]()
    for spec in parse_specs(text, "the study file") if sent else ():
        named |= {name: whole.key(name) for name in named_files(spec, whole)}
    for key, count in Counter(named.values()).items():
        if count > 1:
            several = " and ".join(printable(name) for name in named if named[name] == key)
            raise UsageError(f"{several} are sent under one name.", _APART)
    unnamed = {key: content for key, content in sent.items() if key not in named.values()}
    return unnamed | {name: sent[key] for name, key in named.items()}


_APART = "Give them different names, or post them to /v1/studies."


class _BaseNames(Mapping[str, bytes]):
    """Files by their names, or by the last parts of these."""

    def __init__(self, sent: Mapping[str, str]) -> None:
        self._sent = sent

    def key(self, name: str) -> str:
        return name if name in self._sent else name.replace("\\", "/").rpartition("/")[2]

    def __getitem__(self, name: str) -> bytes:
        return self._sent[self.key(name)].encode()

    def __iter__(self) -> Iterator[str]:
        return iter(self._sent)

    def __len__(self) -> int:
        return len(self._sent)


def _read(file: UploadFile, most: int) -> str:
    """A file's text.

    Raises:
        UsageError: if it is none, or too large.
    """
    content = file.file.read(most + 1)
    if len(content) > most:
        name = printable(file.filename or "A file", 100)
        raise UsageError(f"{name} is too large.", f"At most {most:,} bytes are taken of it.")
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

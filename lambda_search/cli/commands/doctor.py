"""`doctor`: what is installed, what works, and what to do where it does not."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from typing import Annotated
from typing import Any

import typer
from rich.text import Text

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import StoreUrl
from lambda_search.cluster.access import tls_told
from lambda_search.cluster.access import token_told
from lambda_search.downloads import obtain
from lambda_search.downloads import offline
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.files import private_folder
from lambda_search.machine import cores
from lambda_search.machine import cores_present
from lambda_search.paths import extractors_folder
from lambda_search.paths import home
from lambda_search.store.store import Store

__all__ = ["doctor"]

_STARTS_SECONDS = 120.0
_PACKAGES = ("torch", "diffusers", "optuna", "ray", "sqlalchemy", "plotly", "optuna-dashboard")


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Do not start Ray.")] = False,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, GPUs, Ray, the store, the network and the Inception weights."""
    checks: dict[str, Callable[[], str]] = {
        "lambda_search": lambda: (
            f"{version('lambda-search')} on Python {platform.python_version()}"
        ),
        **{name: _package(name) for name in _PACKAGES},
        "data folder": _data_folder,
        "store": lambda: _store(store),
        "network": _network,
        "Ray's token": token_told,
        "Ray's TLS": tls_told,
        "device": _device,  # from here on torch is loaded: what is quick is told first
        "Inception": _inception,
    }
    if not quick:
        checks["workers"] = lambda: _workers(ray_address, gpus)
    width, found = max(map(len, checks)), []
    for name, check in checks.items():
        with working(f"checking {name}"):
            found.append(_answer(name, check))
        if not as_json:
            out.print(_line(found[-1], width))
    if as_json:
        print_json(found)
    if not all(one["ok"] for one in found):
        raise typer.Exit(1)


def _package(name: str) -> Callable[[], str]:
    def check() -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            raise LambdaSearchError("not installed", "pip install 'lambda-search[all]'") from None

    return check


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "unknown without torch"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"CUDA {torch.version.cuda}: {', '.join(names)}"
    allowed, present = cores(), cores_present()
    counted = f"{allowed}" if allowed == present else f"{allowed} of {present}"
    return f"no GPU; {counted} CPU cores ({torch.backends.cpu.get_cpu_capability()})"


def _data_folder() -> str:
    import shutil

    folder = home()
    try:
        private_folder(folder)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise LambdaSearchError(
            f"{folder}: {error.strerror}", "Choose another place with LAMBDA_SEARCH_HOME."
        ) from error
    return f"{folder}, {free / 2**30:.1f} GB free"


def _store(url: str | None) -> str:
    opened = Store.look(url)
    if opened.missing is not None:
        return f"{opened.missing}: not there yet; a launch makes it"
    counts = ", ".join(f"{count} {name}" for name, count in opened.counts().items())
    return f"{opened.address}: {counts}"


def _network() -> str:
    if offline():
        return "offline: only local files are used"
    return "hubs and publishers of weights may be asked; not with --offline"


def _inception() -> str:
    try:
        from lambda_search.metrics.extractors.inception import INCEPTION
    except ImportError as error:
        raise LambdaSearchError(
            f"{error.name} is not installed", "pip install 'lambda-search[all]'"
        ) from error
    try:
        path = obtain(INCEPTION, extractors_folder(), fetch=False)
    except MissingFile:
        if offline():
            return f"not here; put it at {extractors_folder() / INCEPTION.name}"
        return "not here; fetched when it is first needed"
    return f"{path}, checksum right"


def _workers(address: str | None, gpus: float | None) -> str:
    try:
        from lambda_search.cluster.opening import worker_pool
    except ImportError as error:
        raise LambdaSearchError(
            f"{error.name} is not installed", "pip install 'lambda-search[all]'"
        ) from error
    with worker_pool(None, address, gpus) as pool:
        until = time.monotonic() + _STARTS_SECONDS
        while pool.coming() and time.monotonic() < until:
            time.sleep(0.2)
        places = [f"{count} on {host} ({kind})" for host, kind, count in pool.places()]
        notes = pool.notes()
    told = f"{', '.join(places)} came up"
    if notes:
        raise LambdaSearchError(
            f"{told}; {'; '.join(notes)}.", "Install the same versions on every host."
        )
    return f"{told}, with the versions that are here"


def _answer(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "answer": check(), "next": ""}
    except LambdaSearchError as error:
        return {"check": name, "ok": False, "answer": error.cause, "next": error.hint}


def _line(one: dict[str, Any], width: int) -> Text:
    mark = ("✓ ", "green") if one["ok"] else ("✗ ", "red")
    advice = f"  {one['next']}" if one["next"] else ""
    name = f"{one['check']:<{width}}  "
    return Text.assemble(mark, name, one["answer"], (advice, "yellow"))

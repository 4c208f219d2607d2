"""Options that several commands share, each with its environment twin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import TypeAlias

import typer

from lambda_search.errors import UsageError
from lambda_search.shell import use_store

__all__ = [
    "AsJson",
    "Features",
    "Gpus",
    "Hub",
    "Models",
    "RayAddress",
    "Roots",
    "StoreUrl",
    "Submit",
    "Workers",
    "WorkersPerGpu",
    "gpus_of",
]


def _remembered(
    context: typer.Context, parameter: typer.CallbackParam, url: str | None
) -> str | None:
    """Has commands that are printed name the store that this command line names."""
    source = context.get_parameter_source(parameter.name or "")
    use_store(url if source is not None and source.name == "COMMANDLINE" else None)
    return url


StoreUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store",
        callback=_remembered,
        envvar="LAMBDA_SEARCH_STORE",
        metavar="URL",
        help="Database: sqlite:///PATH, postgresql://…, or a file. "
        r"\[default: in the data folder]",
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_WORKERS",
        min=1,
        help=r"Workers. \[default: one a GPU, or one a core without GPUs]",
    ),
]
RayAddress: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_RAY_ADDRESS",
        metavar="ADDRESS",
        help="A running Ray cluster: HOST:PORT, or auto on a node of it. "
        r"\[default: a private one on this machine]",
    ),
]
Submit: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--submit",
        envvar="LAMBDA_SEARCH_SUBMIT",
        metavar="URL",
        help="Have a Ray cluster's head do it, as a job whose log is shown here: its dashboard's "
        "address, http://HOST:8265.",
    ),
]
Gpus: TypeAlias = Annotated[
    float | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_GPUS",
        min=0.0,
        help=r"GPUs a worker, fractions allowed, 0 for the CPU. \[default: 1 if there are any]",
    ),
]
WorkersPerGpu: TypeAlias = Annotated[
    int | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_WORKERS_PER_GPU",
        min=1,
        max=100,
        help="Workers that share each GPU, in place of --gpus; its memory has to hold them all.",
    ),
]
Features: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_FEATURES",
        metavar="URL",
        help="Where features are kept: a folder that all workers see, s3://…, or what else fsspec "
        r"reaches. \[default: in the data folder]",
    ),
]
Models: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        metavar="DIR",
        help="Where the files that studies name are looked up; several may be given. "
        r"\[default: the working folder]",
    ),
]
Roots: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_ROOTS",
        metavar="DIR",
        help="Where studies that are posted to a service may name files; several may be given. "
        r"\[default: nowhere]",
    ),
]
Hub: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        envvar="LAMBDA_SEARCH_HUB",
        metavar="OWNER/NAME",
        help=r"Repositories of the hub that they may name; several may be given. \[default: none]",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", envvar="LAMBDA_SEARCH_JSON", help="JSON on stdout.")
]


def gpus_of(gpus: float | None, workers_per_gpu: int | None) -> float | None:
    """The GPUs that a worker takes, said either way.

    Ray counts in ten-thousandths of a GPU: as many of these as leave room for all workers.

    Raises:
        UsageError: if both are said.
    """
    if workers_per_gpu is None:
        return gpus
    if gpus is not None:
        raise UsageError(
            "--gpus and --workers-per-gpu say the same thing.",
            f"Leave one out; {workers_per_gpu} a GPU is --gpus {1 / workers_per_gpu:.4g}.",
        )
    return (10_000 // workers_per_gpu) / 10_000

"""Where things are kept, and the store's address."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

__all__ = [
    "extractors_folder",
    "features_folder",
    "home",
    "leases_folder",
    "references_folder",
    "store_url",
    "studies_folder",
]


def home() -> Path:
    """The data folder: `LAMBDA_SEARCH_HOME`, or `lambda_search` in the user's data directory."""
    override = os.environ.get("LAMBDA_SEARCH_HOME")
    return Path(override).expanduser() if override else user_data_path("lambda_search")


def store_url(store: str | None = None) -> str:
    """The store's URL: `store`, `LAMBDA_SEARCH_STORE`, or SQLite in the data folder.

    A plain path is taken as an SQLite file, and `postgresql://` as psycopg.
    """
    url = store or os.environ.get("LAMBDA_SEARCH_STORE") or str(home() / "lambda_search.db")
    if "://" not in url:
        return f"sqlite:///{Path(url).expanduser().absolute()}"
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


def features_folder() -> Path:
    """Where shards' features are kept until their study is done."""
    return home() / "features"


def extractors_folder() -> Path:
    """Where the weights of extractors are kept that were fetched."""
    return home() / "extractors"


def references_folder() -> Path:
    """Where references are kept: moments of the user's own images, and published ones."""
    return home() / "references"


def leases_folder() -> Path:
    """Where drivers keep the locked files that say that they live."""
    return home() / "leases"


def studies_folder() -> Path:
    """Where a driver puts the config and prompt files that came with a study."""
    return home() / "studies"

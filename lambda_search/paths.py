"""What the environment says: where things are kept, the store's address, and switches."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from platformdirs import user_data_path

from lambda_search.errors import UsageError

__all__ = [
    "BUNDLED",
    "LUGGAGE",
    "bundled_folder",
    "carry",
    "copy_of",
    "extractors_folder",
    "features_folder",
    "features_url",
    "fetched_folder",
    "folder_of",
    "home",
    "is_address",
    "is_set",
    "leases_folder",
    "locate",
    "references_folder",
    "shipped",
    "seen_folder",
    "store_url",
    "studies_folder",
]

BUNDLED = "bundled:"
"""What the name of something that ships begins with."""

LUGGAGE = "LAMBDA_SEARCH_LUGGAGE"
"""Set in a job that its studies' files came along with: they lie in a folder that ends with it."""

_NO_PATH = re.compile(
    r"(sqlite|postgres(ql)?|mysql|mariadb|https?)(\+\w+)?:|(?![/.~]).*:.*@|//.*@", re.I
)


_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_NO_NAME = re.compile(r"[?#]")


def home() -> Path:
    """The data folder: `LAMBDA_SEARCH_HOME`, or `lambda_search` in the user's data directory."""
    override = os.environ.get("LAMBDA_SEARCH_HOME")
    return Path(override).expanduser() if override else user_data_path("lambda_search")


def is_set(name: str) -> bool:
    """Whether a variable of the environment switches something on."""
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off")


def store_url(store: str | None = None) -> str:
    """The store's URL: `store`, `LAMBDA_SEARCH_STORE`, or SQLite in the data folder.

    A plain path is taken as an SQLite file, and `postgresql://` as psycopg.

    Raises:
        UsageError: for what looks like an address and is none; it would become a file whose name
            holds a password.
    """
    url = store or os.environ.get("LAMBDA_SEARCH_STORE") or str(home() / "lambda_search.db")
    if "://" not in url:
        if _NO_PATH.match(url):
            raise UsageError(
                "The store's address is neither a URL nor a path.",
                "Write sqlite:///PATH or postgresql://USER@HOST/NAME, or a path.",
            )
        path = os.fsencode(Path(url).expanduser().absolute())
        return f"sqlite:///{quote(path)}"
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


def features_folder() -> Path:
    """Where shards' features are kept until their study is done, unless a place is named."""
    return home() / "features"


def features_url(place: str | None = None) -> str:
    """Where they are kept: `place`, `LAMBDA_SEARCH_FEATURES`, or a folder in the data folder.

    A path, absolute then, or an address that fsspec reaches.
    """
    named = place or os.environ.get("LAMBDA_SEARCH_FEATURES") or str(features_folder())
    folder = folder_of(named)
    return named if folder is None else str(folder)


def folder_of(url: str) -> Path | None:
    """The folder, absolute, that a path or file://PATH names; None for other addresses."""
    scheme, found, rest = url.partition("://")
    if found and scheme not in ("file", "local"):
        return None
    return Path(rest if found else url).expanduser().absolute()


def fetched_folder() -> Path:
    """Where copies are kept of what lies elsewhere: at an address, or on the driver's host."""
    return home() / "fetched"


def is_address(name: str) -> bool:
    """Whether a name is an address, such as https://… or s3://…, and not a path."""
    return _ADDRESS.match(name) is not None


def copy_of(address: str) -> Path:
    """Where the copy lies, or will, of what an address names; of file://PATH the very file."""
    folder = folder_of(address)
    if folder is not None:
        return folder
    name = Path(_NO_NAME.split(address.partition("://")[2], maxsplit=1)[0]).name
    name = "file" if name in ("", "..") else name
    return fetched_folder() / hashlib.sha256(address.encode()).hexdigest()[:32] / name


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


def shipped(*parts: str) -> Path:
    """What lies at `parts` in the installed package."""
    return Path(str(resources.files("lambda_search")), *parts)


def bundled_folder(name: str) -> Path:
    """The folder `name` among the data that ships with the package.

    Raises:
        UsageError: if nothing of that name ships.
    """
    root = shipped("models", "bundled")
    folder = root / name
    if not folder.is_dir():
        names = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise UsageError(f"Nothing named '{name}' is bundled.", f"Bundled: {', '.join(names)}.")
    return folder


def locate(checkpoint: str, base: Path | None = None) -> Path | None:
    """The local file or folder that `checkpoint` names, or None where there is none.

    Arguments:
        checkpoint: `bundled:NAME`, a path, relative to `base` (the study file's folder), or an
            address, of which there may be a copy here.
    """
    if checkpoint.startswith(BUNDLED):
        return bundled_folder(checkpoint.removeprefix(BUNDLED))
    path = copy_of(checkpoint) if is_address(checkpoint) else Path(checkpoint).expanduser()
    path = path if path.is_absolute() or base is None else base / path
    return path.resolve() if path.exists() else _carried(path)


def _carried(path: Path) -> Path | None:
    """A copy of what lies at `path` on the driver's host, where somebody brings it here."""
    return _carriers[0](path) if _carriers and path.is_absolute() else None


def carry(how: Callable[[Path], Path | None]) -> None:
    """Has `locate` ask `how` for absolute paths that are not on this host, from now on."""
    _carriers[:] = [how]


_carriers: list[Callable[[Path], Path | None]] = []


def seen_folder() -> Path:
    """Where it is kept which files a study was launched with, so that changes are noticed."""
    return home() / "seen"

"""How a shell on this machine calls us: the commands that are printed work as they are copied.

A command is printed as it can be run here: by its name where PATH finds this installation, by its
script's path otherwise, or through Python where it was started so. The store that the command line
named is named again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["command", "speak_to_others", "use_store"]

_NAME = "lambda-search"
_MODULE = "lambda_search"
_WITHOUT_STORE = ("models", "reference")
_store: list[str] = []
_elsewhere: list[bool] = []


def command(*words: object) -> str:
    """The command line `lambda-search WORDS…`, to be printed; words are quoted for the shell.

    Words in capitals, like STUDY, stand for what the reader knows.
    """
    told = [str(word) for word in words]
    if _store and told and told[0] not in _WITHOUT_STORE:
        told += ["--store", *_store]
    return f"{_program()} {shlex.join(told)}".rstrip()


def use_store(url: str | None) -> None:
    """Remembers the store that the command line names, None if it names none.

    One whose address holds a password is not repeated.
    """
    _store[:] = [] if url is None else ["URL" if _has_secret(url) else url]


def speak_to_others() -> None:
    """From now on commands are for who reads them on another machine.

    Neither where the program lies here nor the store that it was started with is in them.
    """
    _store.clear()
    _elsewhere[:] = [True]


def _program() -> str:
    if _elsewhere:
        return _NAME
    python, script = Path(sys.executable), Path(sys.executable).with_name(_NAME)
    started = Path(sys.argv[0])
    as_module = started.name == "__main__.py" and started.parent.name == _MODULE
    if script.is_file() and not as_module:
        found = shutil.which(_NAME)
        same = found is not None and Path(found).resolve() == script.resolve()
        return _NAME if same else _path(script)
    found = shutil.which(python.name)
    same = found is not None and Path(found).absolute() == python
    return f"{python.name if same else _path(python)} -m {_MODULE}"


def _path(program: Path) -> str:
    """The path of a program, from the working folder on where it lies below it."""
    try:
        shown = str(program.relative_to(Path.cwd()))
    except (OSError, ValueError):
        shown = str(program)
    return shlex.quote(shown if os.sep in shown else f".{os.sep}{shown}")


def _has_secret(url: str) -> bool:
    _, scheme, rest = url.partition("://")
    return bool(scheme) and ("?" in rest or ":" in rest.rpartition("@")[0])

"""An example for every command, shown under its help; tests run those that need no GPU."""

from __future__ import annotations

from lambda_search.shell import command

__all__ = ["EXAMPLES", "example"]

EXAMPLES = {
    "demo": "demo",
    "init": "init bundled:fashion-mnist --name my-study",
    "launch": "launch my-study.yaml --dry-run",
    "submit": "submit my-study.yaml",
    "drive": "drive --models weights/",
    "status": "status my-study",
    "wait": "wait my-study",
    "stop": "stop my-study",
    "resume": "resume my-study",
    "confirm": "confirm my-study --precision 1%",
    "rename": "rename my-study another-name",
    "remove": "remove my-study --yes",
    "best": "best adm-cifar10 --steps 20",
    "rows": "rows 881eef3622cd",
    "apply": "apply fashion-mnist --steps 10 --out pictures/",
    "retract": "retract 881eef3622cd --reason 'a misprint'",
    "diagnose": "diagnose bundled:fashion-mnist --steps 10",
    "evaluate": "evaluate my-study.yaml --b 1.02",
    "report": "report my-study",
    "export": "export --to rows.json",
    "serve": "serve --drive --roots weights/",
    "dashboard": "dashboard",
    "doctor": "doctor --quick",
    "db init": "db init",
    "db upgrade": "db upgrade",
    "db status": "db status",
    "db copy": "db copy lambda_search.db postgresql://me@host/lambdas",
    "db backup": "db backup lambdas.db",
    "db import": "db import rows.json",
    "models inspect": "models inspect bundled:fashion-mnist",
    "models convert": "models convert cifar10.pkl",
    "reference make": "reference make photos/ --extractor inception-clean",
    "reference mark": "reference mark statistics.npz --extractor inception-legacy",
    "reference list": "reference list",
}
"""Command lines without the program, by command."""

_PROGRAM = command()


def example(name: str) -> str:
    """What stands under a command's help."""
    return f"Example: {_PROGRAM} {EXAMPLES[name]}"

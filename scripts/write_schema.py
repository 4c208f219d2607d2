#!/usr/bin/env python
"""Writes the JSON schema of exported rows anew, after a field of one has changed."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from lambda_search.exchange import json_form


def main() -> None:
    """Writes it into the package."""
    path = Path(json_form.__file__).with_name(f"rows-{json_form.VERSION}.schema.json")
    text = json.dumps(json_form.schema(), indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    typer.run(main)

"""What the names of files in a study file may not hold."""

from __future__ import annotations

from lambda_search.errors import without_secrets

__all__ = ["without_keys"]


def without_keys(name: str) -> str:
    """`name`, unless it is an address with a password or a key: studies are stored and shown."""
    if without_secrets(name) != name:
        raise ValueError(
            "the address holds a password or a key; leave it out: keys are read from the "
            "environment"
        )
    return name

"""Names in addresses: a model or a study may be called anything, with slashes and line ends.

Zero bytes alone are in no name: no database takes them.
"""

from __future__ import annotations

from starlette.convertors import Convertor
from starlette.convertors import register_url_convertor

__all__ = ["ANYTHING"]

ANYTHING = "anything"


class _Anything(Convertor[str]):
    """The rest of an address, as it was before it was quoted."""

    regex = r"[^\x00]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(ANYTHING, _Anything())

"""Rows that travel: files of rows, written from any store and read into any other.

A file has a format and a version, and all that a row says: its id, its λ step by step, evidence,
provenance, where it comes from, and whether it was taken back. Reading changes nothing in it. What
is broken, of another version, or impossible is refused whole. The JSON form has a schema, which
lies beside this module.
"""

from __future__ import annotations

from lambda_search.exchange.reading import Imported
from lambda_search.exchange.reading import import_rows
from lambda_search.exchange.reading import import_stream
from lambda_search.exchange.reading import read_rows
from lambda_search.exchange.writing import export_rows
from lambda_search.exchange.writing import pieces
from lambda_search.exchange.writing import pieces_of
from lambda_search.exchange.writing import text_of

__all__ = [
    "Imported",
    "export_rows",
    "import_rows",
    "import_stream",
    "pieces",
    "pieces_of",
    "read_rows",
    "text_of",
]

"""A service from afar: the same words as with a store, said over HTTP.

Its address stands where a store's does, `http://HOST:PORT`; the token for writing is in
LAMBDA_SEARCH_TOKEN. Rows that come are checked like those of a file.
"""

from __future__ import annotations

from lambda_search.remote.patience import PatientService
from lambda_search.remote.service import COMMANDS
from lambda_search.remote.service import Service
from lambda_search.remote.service import no_store
from lambda_search.remote.service import service_at

__all__ = ["COMMANDS", "PatientService", "Service", "no_store", "service_at"]

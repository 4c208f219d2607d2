"""SIGTERM stays what it was for this process when Ray starts in it.

Ray's core takes SIGTERM for a crash: it tells a trace, hands the signal on, and aborts the process
three seconds later. Where Ray starts on the main thread it sets a handler of Python's over that;
on another one nobody can, since `signal.signal` is the main thread's alone. So the handler of the
C library is put back (PyOS_setsig, which any thread may call).
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["sigterm_kept"]

_get = ctypes.pythonapi.PyOS_getsig
_get.argtypes, _get.restype = [ctypes.c_int], ctypes.c_void_p
_set = ctypes.pythonapi.PyOS_setsig
_set.argtypes, _set.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """What heeded SIGTERM before the block does so after it; on the main thread Ray's own does."""
    if threading.current_thread() is threading.main_thread():
        yield
        return
    before = _get(signal.SIGTERM)
    try:
        yield
    finally:
        _set(signal.SIGTERM, before)

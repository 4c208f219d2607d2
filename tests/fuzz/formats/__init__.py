"""The formats: every module beside this one."""

from importlib import import_module
from pkgutil import iter_modules

FORMATS = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]

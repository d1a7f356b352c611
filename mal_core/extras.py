"""Modules of ours whose library need not be installed; none is imported before it is used."""

import importlib
from types import ModuleType

from mal_core.errors import InputError


def load_extra(module: str) -> ModuleType:
    """Import one of our modules whose library is in requirements-extra.txt.

    Args:
        module: its full name.

    Raises:
        InputError: the library is not installed; names it and says how it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        text = f"{error.name} is not installed: pip install -r requirements-extra.txt"
        raise InputError(text) from error

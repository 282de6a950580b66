"""The library that brings UNet and scheduler, which is an extra."""

from __future__ import annotations

from typing import Any

from privaudit.errors import InputError


def diffusers() -> Any:
    """The module. Raises InputError where it is not installed."""
    try:
        import diffusers as found
    except ModuleNotFoundError as error:
        raise InputError("privimage needs the package diffusers: pip install 'privaudit[diffusion]'") from error
    return found

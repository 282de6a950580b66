"""Docstrings explain arguments and fields line by line; each such line becomes a paragraph of its own."""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAMED = re.compile(r"\n(?=(?:[a-z_]+(?:, [a-z_]+)*: |Raises ))")


class DocstringLines(griffe.Extension):
    """Breaks a line before `name: meaning` and before `Raises`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for everything that was read."""
        if obj.docstring is not None:
            obj.docstring.value = _NAMED.sub("\n\n", obj.docstring.value)

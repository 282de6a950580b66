"""Parts of the pages that are made from the program itself, so that they cannot drift from it.

A line `<!-- generated: KIND ARGUMENTS -->` in a page is replaced by what `KINDS[KIND]` makes of the arguments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one; the build loads this file by its path

import page_canaries as canaries
import page_commands as commands
import page_red_team as red_team
import page_settings as settings
import page_words as words

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"^<!-- generated: ([a-z-]+)((?: (?!-->)\S+)*) -->$", re.MULTILINE)


def shown_file(path: str) -> str:
    """A file of the checkout, as a block."""
    file = ROOT / path
    language = {".py": "python", ".toml": "toml", ".yaml": "yaml"}[file.suffix]
    return f'```{language} title="{file.name}"\n{file.read_text(encoding="utf-8").rstrip()}\n```'


KINDS: Mapping[str, Callable[..., str]] = {
    "file": shown_file,
    "command": commands.command,
    "commands": commands.commands,
    "attack": settings.attack,
    "attack-settings": settings.of_attack,
    "engine-settings": settings.of_engine,
    "model": settings.model,
    "record": settings.record,
    "verdicts": words.verdicts,
    "exit-codes": words.exit_codes,
    "metrics": words.metrics,
    "rules": words.rules,
    "glossary": words.glossary,
    "frameworks": words.frameworks,
    "criteria": words.criteria,
    "kinds-of-plants": words.kinds_of_plants,
    "red-team": red_team.red_team,
    "red-team-false-alarms": red_team.false_alarms,
    "kinds-of-canaries": canaries.kinds,
    "largest-of-canaries": canaries.largest,
}


def filled(markdown: str) -> str:
    """A page with all its generated parts. Raises KeyError for a kind that does not exist."""
    return PLACE.sub(lambda match: KINDS[match[1]](*match[2].split()), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by the build for every page."""
    return filled(markdown)

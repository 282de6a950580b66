"""The command line: every command with its options, from the program's own help."""

from __future__ import annotations

import re
from typing import Any

import typer
from page_markup import cell, table

from privaudit.cli import app


def _group() -> Any:
    return typer.main.get_command(app)


def names() -> list[str]:
    """All commands, those of a group as 'weights add'."""
    found = []
    for name, one in _group().commands.items():
        found += [f"{name} {sub}" for sub in one.commands] if hasattr(one, "commands") else [name]
    return found


def _found(name: str) -> Any:
    one = _group()
    for part in name.split():
        one = one.commands[part]
    return one


def command(*name: str) -> str:
    """What a command does, its arguments and its options."""
    one = _found(" ".join(name))
    context = one.make_context("privaudit", [], resilient_parsing=True)
    rows = []
    for parameter in one.params:
        record = parameter.get_help_record(context)
        if record is None:
            continue
        head, meaning = record
        rows.append((_head(head), cell(meaning)))
    text = re.sub(r"\n\n+", "\n\n", one.help or "").strip()
    return f"{_escaped(text)}\n\n" + table(("option", "meaning"), rows)


def commands() -> str:
    """Every command, under a heading of its own."""
    return "\n\n".join(f"## {name} {{: #{name.replace(' ', '-')} }}\n\n{command(*name.split())}" for name in names())


def _head(record: str) -> str:
    """The spellings of an option as code, then what it takes: `--effort` quick, standard, thorough."""
    words = re.sub(r"\s+", " ", record).strip()
    spelt = re.match(r"(?:-[\w-]+(?:, )?)+", words)
    if spelt is None:
        return f"`{words.split(' <')[0]}`"
    taken = re.sub(r"[<>]", "", words[spelt.end() :]).replace("|", ", ").strip()
    return f"`{spelt[0]}`" + (f" {cell(taken)}" if taken else "")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("{", "&#123;")

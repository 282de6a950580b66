"""What the pages say: commands and options that exist, files that parse, and words that claim nothing."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_blocks
import pytest
import typer
import yaml

from privaudit.cli import app
from privaudit.policy import PolicyRule

PAGES = page_blocks.names()


def _group() -> Any:
    return typer.main.get_command(app)


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


def _calls(page: str) -> Iterator[tuple[str, list[str]]]:
    """Every call of the program on a page, in blocks and within sentences: the line, and its words."""
    text = page_blocks.text(page)
    inline = re.findall(r"`(privaudit [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [" ".join(one.split()) for one in inline]
    for block in page_blocks.blocks(page):
        if block.language in ("console", "sh", "yaml"):
            lines += re.sub(r"\\\n\s*", " ", block.text).split("\n")
    for line in lines:
        found = re.search(r"(?:^|[\s/])privaudit ([a-z].*|--[a-z].*)$", line.split("  #")[0])
        printed = line.startswith(("  ", "note:", "name:", "next:", "#", "PASS", "FAIL"))
        if found and (not printed or re.search(r"(run: |- |/)privaudit [a-z]", line)):
            yield line, shlex.split(found[1].split(" >>")[0].rstrip("'"), comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    group = _group()
    for line, words in _calls(page):
        if words[0] in ("COMMAND", "--help", "--version"):
            continue
        assert words[0] in group.commands, line
        command = group.commands[words[0]]
        if hasattr(command, "commands"):
            assert words[1] in command.commands, line
            command = command.commands[words[1]]
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= _options(command), f"{page}: {line}"


def test_calls_are_found() -> None:
    """The test above looks at something, on pages of each kind."""
    assert len(list(_calls("tutorials/officer.md"))) >= 7
    assert [words[0] for line, words in _calls("tutorials/engineer.md") if "time-limit" in line].count("run") == 2
    assert any(words[0] == "doctor" for _, words in _calls("how-to/air-gapped.md"))


@pytest.mark.parametrize("page", PAGES)
def test_options_in_sentences_exist(page: str) -> None:
    group = _group()
    commands = [one for two in group.commands.values() for one in (getattr(two, "commands", {"": two})).values()]
    known = set().union(*(_options(command) for command in commands)) | {"--version"}
    inline = re.findall(r"`(--[a-z-]+)[^`]*`", page_blocks.text(page))
    pip = {"--no-index", "--upgrade"}
    assert set(inline) - known - (pip if page == "how-to/air-gapped.md" else set()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_files_parse(page: str) -> None:
    for block in page_blocks.blocks(page):
        if block.language == "yaml":
            found = yaml.safe_load(block.text)
            assert isinstance(found, dict | list), block.text
            if isinstance(found, list):
                for rule in found:
                    PolicyRule.model_validate(rule)
        elif block.language == "toml":
            assert tomllib.loads(block.text)
        elif block.language == "python":
            compile(block.text, f"{page}: {block.title}", "exec")


def _named(kind: str) -> list[tuple[str, page_blocks.Block]]:
    return [(page, block) for page in PAGES for block in page_blocks.blocks(page) if block.title == kind]


def test_configurations_policies_and_grids_are_valid(tmp_path: Path) -> None:
    from privaudit.configuration import load_configuration
    from privaudit.data.claim_file import read_claim
    from privaudit.grid.configuration import load_grid

    for name, load in (("audit.yaml", load_configuration), ("grid.yaml", load_grid), ("claim.yaml", read_claim)):
        found = _named(name)
        assert found, name
        for _, block in found:
            (tmp_path / name).write_text(block.text, encoding="utf-8")
            load(tmp_path / name)


def test_pipelines_publish_the_shareable_half_only() -> None:
    (_, github), (_, gitlab) = *_named(".github/workflows/privaudit.yml"), *_named(".gitlab-ci.yml")
    steps = yaml.safe_load(github.text)["jobs"]["audit"]["steps"]
    assert [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")] == ["report/share"]
    assert not any("cache" in step.get("uses", "") for step in steps)
    job = yaml.safe_load(gitlab.text)["privacy-audit"]
    assert job["artifacts"]["paths"] == ["report/share"]
    assert "cache" not in job
    for text in (github.text, gitlab.text):
        assert "--no-fail" not in text


@pytest.mark.parametrize("page", PAGES)
def test_words(page: str) -> None:
    """No praise, no word that makes a reader feel slow, no path of a machine, and nothing is called anonymous."""
    text = re.sub(r"https://\S+", "", page_blocks.text(page))
    for word in ("simply", "just ", "easy", "easily", "obviously", "powerful", "seamless", "robust", "best-in-class"):
        assert word not in text.lower(), word
    assert not re.search(r"(?<![\w.])/(work|home|tmp|root|opt|Users)/", text)
    for sentence in re.split(r"(?<=[.!?:])\s", text):
        assert "anonymous" not in sentence.lower() or "never calls" in sentence, sentence
    assert max(map(len, text.split("\n")), default=0) <= 260
    assert page_blocks.filler()(text).count("<!-- generated:") == 0


def test_an_unknown_generated_part_stops_the_build() -> None:
    with pytest.raises(KeyError):
        page_blocks.filler()("<!-- generated: no-such-thing -->")
    assert page_blocks.filler()("a `<!-- generated: x -->` within a line") == "a `<!-- generated: x -->` within a line"

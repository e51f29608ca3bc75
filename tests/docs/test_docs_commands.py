"""What the pages tell people to type exists: commands, options, study files."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from dopant.study.config import Tables, from_tables

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "generate"))

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing typer says that click has moved a name
    import commands
    import python
    import study_file

STARTS = ("dopant ", ".venv/bin/dopant ", "$ dopant ", "$ .venv/bin/dopant ", "exec dopant ")
OTHERS = {"--signal", "--strict", "--peers"}  # options of other programs that pages speak of


def typed(text: str) -> list[list[str]]:
    """The words of every line that calls dopant; lines that go on are joined."""
    lines = text.replace("\\\n", " ").splitlines()
    calls = [re.sub(r"^.*?dopant ", "", line, count=1) for line in lines if line.strip().startswith(STARTS)]
    called = [shlex.split(call.removesuffix("&"), comments=True) for call in calls]  # & of a shell
    return [words for words in called if words and words[-1] != "[OPTIONS]"]  # that is how usage is written


def refused(words: list[str]) -> str | None:
    """Why the command line would not take these words; None if it would."""
    command = commands.commands().get(words[0])
    if command is None:
        return f"there is no command {words[0]!r}"
    try:
        context = click.Context(command, info_name=words[0])
        _, left, _ = command.make_parser(context).parse_args(list(words[1:]))
    except click.ClickException as error:
        return error.format_message()
    except Exception as error:  # typer may bring its own click
        return str(error)
    return f"too many arguments: {left}" if left else None


def test_a_command_that_is_not_there_is_noticed():
    assert refused(["fly"]) and refused(["run", "--wings", "2"]) and refused(["doctor", "one", "two"])
    assert refused(["run", "study.toml", "--replicates", "3"]) is None


def test_every_command_on_every_page_can_be_typed(site):
    texts = [(name, text) for name, page in site.pages.items() for _, text in page.blocks]
    texts += [
        ("README.md", text) for text in re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    ]
    found = [(name, words) for name, text in texts for words in typed(text)]
    assert len(found) > 60
    wrong = {(name, " ".join(words)): why for name, words in found if (why := refused(words))}
    assert wrong == {}


def test_every_option_that_a_page_speaks_of_is_one_of_a_command(site):
    options = {o for c in commands.commands().values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    spoken = {(name, option) for name, page in site.pages.items() for code in page.inline
              for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code) if "pip" not in code}  # fmt: skip
    assert len(spoken) > 40
    assert {pair for pair in spoken if pair[1] not in options | OTHERS | {"--help"}} == set()


def test_every_study_file_on_a_page_is_sound(site):
    whole = 0
    for name, page in site.pages.items():
        for language, text in page.blocks:
            if language != "toml":
                continue
            tables = tomllib.loads(text)
            if not set(tables) & set(Tables.model_fields):
                assert "project" in tables, name
                continue
            Tables.model_validate(tables)
            if "study" in tables and tables["study"].get("host") and tables.get("design"):
                assert from_tables(tables).problems() == [], name
                whole += 1
    assert whole > 20


def test_a_key_that_nobody_explained_stops_the_build():
    said = {"study": {"name": "its name", "gone": "was a key once"}}
    with pytest.raises(ValueError, match=r"lacks \['seed'\] and has \['gone'\]"):
        study_file._paired("study", [("name", None), ("seed", None)], said)


def test_the_reference_of_study_files_has_every_key_with_its_default(site):
    text = site.pages["reference/study-file.html"].path.read_text()
    for table, model in (("study", study_file.StudyTable), ("recipe", study_file.RecipeTable)):
        for key, value in model.model_fields.items():
            row = re.search(rf"<tr>\s*<td><code>{key}</code></td>(.*?)</tr>", text, re.S)
            assert row, (table, key)
            if isinstance(value.default, (int, float)) and not isinstance(value.default, bool):
                assert f"<code>{value.default:g}</code>" in row[1], (table, key)


def test_a_public_name_without_a_place_stops_the_build(monkeypatch):
    assert python.ungrouped() == set()
    monkeypatch.setattr(python, "dopant", SimpleNamespace(__all__=["new"], _NAMES={"new": (".new", "new")}))
    with pytest.raises(ValueError, match="new"):
        python.page()

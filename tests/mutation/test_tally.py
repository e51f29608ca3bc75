"""The count of mutants, on a folder such as mutmut leaves."""

import json
import tomllib
from pathlib import Path

import pytest
import tally

SOURCE = '''
def x_half__mutmut_orig(a):
    """Half of it."""
    return a / 2
def x_half__mutmut_1(a):
    """Half of it."""
    return a * 2
def x_half__mutmut_2(a):
    """Half of it."""
    return a / 3
class Scores:
    def xǁScoresǁarm__mutmut_orig(self):
        return [1]
    def xǁScoresǁarm__mutmut_1(self):
        return [2]
    def xǁScoresǁarm__mutmut_2(self):
        return []
'''
NAMES = ["x_half__mutmut_1", "x_half__mutmut_2", "xǁScoresǁarm__mutmut_1", "xǁScoresǁarm__mutmut_2"]


@pytest.fixture
def run(tmp_path):
    """A folder of four mutants with these exit statuses, and what is read of it."""

    def make(*statuses, explained=()):
        (tmp_path / "numbers.py").write_text(SOURCE, encoding="utf-8")
        found = {f"pack.numbers.{name}": status for name, status in zip(NAMES, statuses, strict=True)}
        (tmp_path / "numbers.py.meta").write_text(json.dumps({"exit_code_by_key": found}), encoding="utf-8")
        return tally.read(tmp_path, list(explained))

    return make


def test_a_mutant_is_told_by_its_function_and_its_change(run):
    mutants = run(1, 36, 0, None)
    assert [m.outcome for m in mutants] == ["killed", "timeout", "survived", "not run"]
    assert (mutants[0].function, mutants[0].before, mutants[0].after) == ("half", "return a / 2", "return a * 2")
    assert (mutants[2].function, mutants[2].after) == ("Scores.arm", "return [2]")
    assert tally.table(mutants)[2] == "| numbers.py | 3 | 1 | 1 | 0 | 1 | 66.7 | 1 |"


def test_an_explained_survivor_is_named_apart_and_still_counts_against_the_share(run):
    entry = {"file": "numbers", "function": "half", "after": "return a / 3", "reason": "nobody calls it"}
    mutants = run(1, 0, 1, 1, explained=[entry])
    assert mutants[1].reason == "nobody calls it" and not any(m.reason for m in mutants[2:])
    assert tally.table(mutants)[2] == "| numbers.py | 4 | 3 | 0 | 1 | 0 | 75.0 | 0 |"
    assert not tally.enough(mutants)
    assert tally.enough(run(1, 1, 1, 1)) and not tally.enough(run(1, 1, 1, 33)) and not tally.enough([])


def test_every_change_that_is_called_equivalent_has_a_reason():
    entries = tomllib.loads(Path(tally.__file__).with_name("equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
    for entry in entries:
        assert (
            {"file", "function", "after", "reason"} <= set(entry) <= {"file", "function", "before", "after", "reason"}
        )
        assert len(entry["reason"]) > 10

"""What a run of mutmut found: killed and surviving mutants by file, the survivors with their change.

`python tests/mutation/tally.py [FOLDER]` (default `mutants`) prints a table and every survivor that `equivalent.toml`
does not explain; exit status 1 where a file has fewer than 90 % of its mutants killed. Mutants not run are counted
apart; those that no test reaches count as survivors.
"""

from __future__ import annotations

import ast
import difflib
import json
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LEAST = 0.90
KILLED, TIMED_OUT = (1, 3, 37), (36, 24, -24, 152, 255)  # exit statuses as mutmut writes them


@dataclass(frozen=True)
class Mutant:
    """One change of one function. outcome: killed, timeout, survived or not run."""

    file: str
    function: str
    outcome: str
    before: str
    after: str
    reason: str = ""


def outcome(status: int | None) -> str:
    if status is None:
        return "not run"
    return "killed" if status in KILLED else "timeout" if status in TIMED_OUT else "survived"


def read(folder: Path, explained: list[dict[str, str]]) -> list[Mutant]:
    """Every mutant that a run left in its folder; one that is explained has its reason."""
    found = []
    for meta in sorted(folder.rglob("*.py.meta")):
        source = meta.with_suffix("")
        if source.suffix != ".py" or not source.is_file():
            continue
        bodies = _functions(source.read_text(encoding="utf-8"))
        for key, status in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            name = key.rsplit(".", 1)[1]
            start, _ = name.rsplit("__mutmut_", 1)
            function = start.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            before, after = _change(bodies[f"{start}__mutmut_orig"], bodies[name])
            reason = next((e["reason"] for e in explained if _is(e, source.stem, function, before, after)), "")
            found.append(Mutant(source.stem, function, outcome(status), before, after, reason))
    return found


def _functions(text: str) -> dict[str, list[str]]:
    """{name: lines} of every function, its own name left out so that mutants differ by their change alone."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            name, node.name = node.name, "f"
            found[name] = ast.unparse(node).splitlines()
    return found


def _change(original: list[str], mutant: list[str]) -> tuple[str, str]:
    lines = list(difflib.ndiff(original, mutant))
    return tuple("\n".join(x[2:].strip() for x in lines if x.startswith(sign)) for sign in ("- ", "+ "))  # type: ignore[return-value]


def _is(entry: dict[str, str], file: str, function: str, before: str, after: str) -> bool:
    return (
        (entry["file"], entry["function"]) == (file, function)
        and entry.get("before", before) == before
        and entry["after"] == after
    )


def table(mutants: list[Mutant]) -> list[str]:
    """Markdown: one row a file."""
    lines = ["| file | mutants run | killed | by a timeout | equivalent | survived | killed, % | not run |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for file in sorted({m.file for m in mutants}):
        c = Counter(
            "equivalent" if m.outcome == "survived" and m.reason else m.outcome for m in mutants if m.file == file
        )
        run = sum(c.values()) - c["not run"]
        share = 100 * (c["killed"] + c["timeout"]) / run if run else float("nan")
        lines.append(
            f"| {file}.py | {run} | {c['killed']} | {c['timeout']} | {c['equivalent']} | {c['survived']} | "
            f"{share:.1f} | {c['not run']} |"
        )
    return lines


def enough(mutants: list[Mutant]) -> bool:
    """Whether each file has its share of all mutants run killed; those said to be equivalent count as survivors."""
    for file in {m.file for m in mutants}:
        run = [m for m in mutants if m.file == file and m.outcome != "not run"]
        if sum(m.outcome != "survived" for m in run) < LEAST * len(run):
            return False
    return bool(mutants)


def main(folder: Path) -> int:
    entries = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
    mutants = read(folder, entries)
    for m in mutants:
        if m.outcome == "survived" and not m.reason:
            print(f"{m.file}.{m.function}\n  - {m.before}\n  + {m.after}")
    print("\n".join(table(mutants)))
    return 0 if enough(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if sys.argv[1:] else "mutants")))

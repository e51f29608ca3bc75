"""Record a finished study on this paper: `python -m dopant.papers.quantum_creep.record DIR --study NAME.toml`.

Adds one `[[factorial]]` row to measured.toml: what was run, and every effect with its interval and verdict.
"""

from __future__ import annotations

import argparse
import sys

from ..kept import row_of


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""
    from ...study.results import load
    from .. import recording
    from . import PAPER

    parser = argparse.ArgumentParser(prog="python -m dopant.papers.quantum_creep.record", description=__doc__)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--study", required=True, help="the study's file, by which the row is known")
    asked = parser.parse_args(arguments)

    def record() -> None:
        checkout = recording.require_checkout(PAPER.folder)
        row = row_of(load(asked.folder), asked.study)
        if row["commit"] is None:
            row |= {"commit": checkout.commit, "dirty": checkout.dirty}
        print(f"{recording.add(PAPER.measured_file, 'factorial', row)} in {PAPER.measured_file.name}: "
              f"{row['study']}, {len(row['effects'])} effects")  # fmt: skip

    return recording.told(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

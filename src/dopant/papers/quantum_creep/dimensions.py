"""Record how many directions of each component's parameters change what it gives:
`python -m dopant.papers.quantum_creep.dimensions [STUDY.toml]` (heads.toml unless said; some minutes).

Adds one `[[dimension]]` row to measured.toml for each component and slot, at its starting values on the study's data.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    """One row for each component and slot of the study in `path`. ConfigError for a study that cannot be read."""
    from ...study.config import Study
    from ...study.dimensions import dimensions

    return [{"study": path.name, **{k: v for k, v in found.to_json().items() if k != "cell"}}
            for found in dimensions(Study.load(path))]  # fmt: skip


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""
    from .. import recording
    from . import PAPER

    parser = argparse.ArgumentParser(prog="python -m dopant.papers.quantum_creep.dimensions", description=__doc__)
    parser.add_argument("study", nargs="?", default=str(PAPER.folder / "heads.toml"), metavar="STUDY.toml")
    asked = parser.parse_args(arguments)

    def record() -> None:
        checkout = recording.require_checkout(PAPER.folder)
        for row in rows_of(Path(asked.study)):
            done = recording.add(PAPER.measured_file, "dimension", row | recording.stamp(checkout))
            print(f"{done}: {row['slot']} {row['component']}: {row['rank']} of {row['parameters']}")

    return recording.told(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

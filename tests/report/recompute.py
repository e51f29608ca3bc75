"""Recompute every number of a study's page from its trial folders, without dopant.

`python tests/report/recompute.py DIR [report.html]`: exit 0 where all agree, 1 with a line a mismatch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import drawings
import figures
import page
import prose
import tables
from study_folder import StudyFolder


def mismatches(folder: str | Path | tables.Study, html: str) -> list[str]:
    """A line for each number of the page that its folder does not give, or that nothing recomputes.

    folder: or what was read of it before, so that several pages cost one reading.
    """
    root = page.parse(html)
    study = folder if isinstance(folder, tables.Study) else tables.Study(StudyFolder(Path(folder)))
    found = page.tables(root)
    study.page = {table.id: table for table in found}
    study.cut = page.trials_left_out(root)
    errors = [error for table in found for error in tables.check(study, table)]
    errors += figures.outside(study, root, page.outside_tables(root))
    errors += prose.check(study, root, found)
    return errors + drawings.check(study, root, found)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__)
        return 2
    path = Path(arguments[1]) if len(arguments) == 2 else Path(arguments[0]) / "report.html"
    html = path.read_text(encoding="utf-8")
    errors = mismatches(arguments[0], html)
    for error in errors:
        print(error)
    for name in drawings.not_looked_at(page.parse(html)):
        print(f"not looked at: drawings of class {name!r}")
    numbers = sum(t.data() for t in page.tables(page.parse(html)))
    print(f"{path}: {numbers} numbers in tables, {len(errors)} mismatches")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Make the tables and the picture of the paper's page again: `python -m dopant.papers.quantum_creep.page`.

Everything between `<!-- generated: NAME -->` and `<!-- end -->` in README.md comes from published.toml and
measured.toml; the rest is prose and stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import readme
from ..compare import KINDS, Difference, Series, difference_interval, load_published
from ..readme import table
from ..recording import CELL, read
from . import PAPER
from .bound import TRAIN_COUNTS, lowest_cross_entropy

Rows = dict[str, list[dict[str, Any]]]
PICTURE = "curves.svg"


def render(text: str, published: Sequence[Series], measured: Rows) -> str:
    """The page with every generated block made again. ConfigError for a block that nobody makes."""

    return readme.render(text, {n: (lambda make=make: make(published, measured)) for n, make in BLOCKS.items()})


def best_rows(measured: Rows) -> list[dict[str, Any]]:
    """Of each data set and cell the row with most epochs, then replicates, then the newest; smoke runs left out."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in measured.get(CELL, []):
        key = (row["data"], row["cell"])
        if row.get("quick") or PAPER.data.get(row["data"]) is None:
            continue
        old = found.get(key)
        if old is None or _weight(row) >= _weight(old):
            found[key] = row
    order = list(PAPER.counterparts)
    return sorted(found.values(), key=lambda r: (list(PAPER.data).index(r["data"]), order.index(r["cell"])))


def _weight(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return row["epochs"], row["replicates"], str(row["date"])


def series_of(row: Mapping[str, Any], published: Sequence[Series]) -> Series | None:
    """The series published of a measured row's cell; None where nothing was."""
    counterpart, data = PAPER.counterparts.get(row["cell"]), PAPER.data.get(row["data"])
    if counterpart is None or not counterpart.same_recipe:
        return None
    wanted = (counterpart.variant, counterpart.level, data)
    return next((s for s in published if (s.variant, s.level, s.data) == wanted), None)


def difference_of(row: Mapping[str, Any], series: Series) -> Difference:
    """Measured minus published at the last epoch that both have, from a row of measured.toml."""
    epoch = min(row["epochs"], series.epochs)
    mean, n = row["test_accuracy"][epoch - 1], row["replicates"]
    sd = row["test_accuracy_sd"][epoch - 1] if n > 1 else math.nan
    at, at_sd = series.curves["test_accuracy"][epoch - 1], series.curves["test_accuracy_sd"][epoch - 1]
    low, high, kind = difference_interval(mean, sd, n, at, at_sd, series.distinct)
    return Difference(epoch, at, at_sd, series.distinct, mean, sd, n, mean - at, low, high, kind)


# --- blocks ---------------------------------------------------------------------------------------------------------


def _share(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if sd is None or math.isnan(sd) else f" ± {100 * sd:.2f}")


def published_block(published: Sequence[Series], measured: Rows) -> str:
    """Final published accuracies, with the number of distinct runs."""
    rows, notes = [], []
    for data in dict.fromkeys(s.data for s in sorted(published, key=lambda s: list(PAPER.data.values()).index(s.data))):
        cells = [data]
        for variant in ("torch", "equinox"):
            for level in (0, 1, 2):
                s = next(s for s in published if (s.variant, s.data, s.level) == (variant, data, level))
                mark = f" ({s.distinct})" if s.distinct != s.repeats else ""
                cells.append(_share(s.curves["test_accuracy"][-1], s.curves["test_accuracy_sd"][-1]) + mark)
                if s.duplicates:
                    notes.append(f"{variant}, {data}, level {level}: {s.duplicates}, so {s.distinct} distinct runs.")
        rows.append(cells)
    head = ["", *(f"torch {n}" for n in range(3)), *(f"Equinox {n}" for n in range(3))]
    return table(head, rows, "") + "\n\n" + " ".join(notes)


def measured_block(published: Sequence[Series], measured: Rows) -> str:
    """Published beside measured at the last epoch that both have."""
    rows, kinds = [], {}
    for row in best_rows(measured):
        series = series_of(row, published)
        if not row.get("test_accuracy"):
            continue
        gap = None if series is None else difference_of(row, series)
        epoch = gap.epoch if gap else row["epochs"]
        sd = row["test_accuracy_sd"][epoch - 1] if row["replicates"] > 1 else None
        if gap:
            kinds[gap.kind] = KINDS[gap.kind]
        norm = next((row[k] for k in sorted(row, reverse=True) if k.startswith("state_norm")), None)
        rows.append([
            row["data"], row["cell"], f"{row['images']:,}", str(epoch), str(row["replicates"]),
            f"{row['seconds']:.0f}", _share(gap.published, gap.published_sd) if gap else "–",
            _share(row["test_accuracy"][epoch - 1], sd), _gap(gap) if gap else "–",
            f"{row['train_loss'][-1]:.3f}", "–" if norm is None else f"{norm:.3g}",
            f"{row['commit'][:8]}{'+' if row.get('dirty') else ''}",
        ])  # fmt: skip
    head = ["data", "cell", "images", "epoch", "runs", "s a run", "published", "measured", "difference [95 %]",
            "training loss", "norm²", "commit"]  # fmt: skip
    shown = table(head, rows)
    notes = [f"{'p: ' if kind == 'prediction' else ''}{text}." for kind, text in kinds.items()]
    if any(cells[6] == "–" for cells in rows):
        notes.append("–: nothing was published for this cell; its recipe is that of the torch level 2.")
    return shown + "".join(f"\n\n{note}" for note in notes)


def _gap(gap: Difference) -> str:
    between = "" if math.isnan(gap.low) else f" [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}]"
    return f"{100 * gap.mean:+.2f}{between}" + (" p" if gap.kind == "prediction" else "")


def bound_block(published: Sequence[Series], measured: Rows) -> str:
    """The bound on the cross entropy beside the published training losses of level 2."""
    rows = []
    for data, name in PAPER.data.items():
        if name is None:
            continue
        cells = [name, f"{lowest_cross_entropy(TRAIN_COUNTS[data]):.3f}"]
        for variant in ("torch", "equinox"):
            s = next(s for s in published if (s.variant, s.data, s.level) == (variant, name, 2))
            cells.append(f"{s.curves['train_loss'][-1]:.3f}")
        rows.append(cells)
    return table(["", "no circuit below", "torch, last epoch", "Equinox, last epoch"], rows, "")


def weights_block(published: Sequence[Series], measured: Rows) -> str:
    """Published trained weights in our layers."""
    rows = [
        [f"`{row['file']}`", row["data"], str(row["level"]), f"{row['test_accuracy']:.4f}",
         "–" if row.get("published_test_accuracy") is None else f"{row['published_test_accuracy']:.4f}"]
        for row in measured.get("checked_weights", [])
    ]  # fmt: skip
    return table(["file", "data", "level", "our layers", "published"], rows, "No file has been checked yet.")


def factorial_block(published: Sequence[Series], measured: Rows) -> str:
    """Of each recorded study: what is compared in words first, then all interactions and all cells, folded."""
    parts = []
    for row in measured.get("factorial", []):
        scale = 100 if "accuracy" in row.get("metric", "accuracy") else 1
        parts.append(
            f"`{row['study']}`: {row['data']}, {row.get('images', 0):,} images, {row['epochs']} epochs, "
            f"{row['replicates']} replicates, {row.get('seconds', 0):.0f} s of training, commit "
            f"{row.get('commit', 'unknown')[:8]}{'+' if row.get('dirty') else ''}."
            + (f" {row['failed']} trials failed; effects count them at the score declared for failures, the means "
               "of cells leave them out." if row.get("failed") else "")
        )  # fmt: skip
        by_role: dict[str, list[list[str]]] = {}
        for e in row["effects"]:
            role = e.get("role", "level")
            untuned = role == "level" and e["verdict"].removeprefix("estimate: ").startswith("untuned")
            by_role.setdefault("untuned level" if untuned else role, []).append(_effect(e, scale))
        for title, roles, folded in _TABLES:
            rows = [found for role in roles for found in by_role.get(role, [])]
            if rows:
                parts.append(_folded(title, table(["what", "versus", "mean", "95 %", "verdict"], rows, ""), folded))
        cells = [
            [c["cell"], f"{scale * c['mean']:.2f} ± {scale * c['sd']:.2f}" if "sd" in c else f"{scale * c['mean']:.2f}",
             f"{c[_NORM]:.3g}" if _NORM in c else "–"]
            for c in row.get("cells", [])
        ]  # fmt: skip
        if cells:
            parts.append(
                _folded("Every cell", table(["cell", "mean ± sd", "norm² of the head's state"], cells, ""), True)
            )
    return "\n\n".join(parts) or "No study of the parts has been recorded yet."


def dimension_block(published: Sequence[Series], measured: Rows) -> str:
    """Effective dimension beside parameter counts."""
    rows = [
        [row["slot"], f"`{row['component']}`", f"{row['parameters']:,}",
         f"{'' if row.get('exact', True) else 'at least '}{row['rank']:,}"]
        for row in measured.get("dimension", [])
    ]  # fmt: skip
    return table(["slot", "component", "trainable numbers", "effective dimension"], rows, "None has been recorded yet.")


_NORM = "state_norm_squared_head"
_TABLES = (
    ("Contrasts in which every arm is tuned alike", ("level", "baseline"), False),
    ("One thing changed, none tuned", ("untuned level",), False),
    ("These swaps against their controls", ("swap-versus-control",), False),
    ("Main effects, means over all cells that differ in nothing else", ("main",), False),
    ("Simple effects, where a main effect depends on another factor; uncorrected", ("simple",), True),
    ("Interactions", ("interaction",), True),
)


def _effect(effect: Mapping[str, Any], scale: float) -> list[str]:
    whole = {"low", "high"} <= set(effect)
    return [
        effect["swap"], effect["versus"], f"{scale * effect['mean']:+.2f}" if "mean" in effect else "–",
        f"[{scale * effect['low']:+.2f}, {scale * effect['high']:+.2f}]" if whole else "–", effect["verdict"],
    ]  # fmt: skip


def _folded(title: str, shown: str, folded: bool) -> str:
    if not folded:
        return f"{title}:\n\n{shown}"
    return f"<details><summary>{title}</summary>\n\n{shown}\n\n</details>"


BLOCKS: dict[str, Callable[[Sequence[Series], Rows], str]] = {
    "published": published_block,
    "measured": measured_block,
    "bound": bound_block,
    "weights": weights_block,
    "factorial": factorial_block,
    "dimension": dimension_block,
}


def main(folder: Path | None = None) -> None:
    """Write README.md and the picture again."""
    from ...study.answer import write_text
    from .picture import draw

    folder = folder or PAPER.folder
    published, measured = load_published(PAPER.published_file), read(PAPER.measured_file)
    page = folder / "README.md"
    write_text(page, render(page.read_text(encoding="utf-8"), published, measured))
    write_text(folder / PICTURE, draw(published, best_rows(measured)))
    print(f"{page.name} and {PICTURE} ({(folder / PICTURE).stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()

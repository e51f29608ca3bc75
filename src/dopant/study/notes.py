"""What a reader must know of a study beside its numbers, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import local
from ..designs import Factorial
from ..designs.automatic import OTHER_SIDE
from ..errors import ConfigError
from . import budget, race, sensitivity
from . import plan as planning
from .config import Study, as_named
from .tuned import tuning_notes

if TYPE_CHECKING:
    from .results import StudyAnswer


def notes_of(answer: StudyAnswer) -> list[str]:
    """Sentences for the page: where splits, starts, learning rates and failures come from."""
    notes = []
    study = answer.config
    if study.protocol == "published":
        notes.append("protocol = published: trained on all training data; the test set was read every epoch.")
    if as_named(study.design.host, "host")["name"].startswith("local:") and not callable_host(study.design.host):
        notes.append("The host was given ready-made: every replicate starts from the same weights of it.")
    notes += _start_notes(answer, study)
    resplit = answer.resplit()
    if resplit is not None and study.folds is not None:
        notes.append(
            f"Every {study.folds} replicates are one repetition of stratified {study.folds}-fold cross-validation, its "
            "folds shared by all cells: each item is tested once a repetition. Intervals use the variance of the "
            f"corrected repeated k-fold t test, n_test / n_train = {resplit:.3g}."
        )
    elif resplit is not None:
        notes.append(
            "There is no official test set: each replicate draws its own stratified split, shared by all cells; "
            "intervals use the Nadeau-Bengio variance."
        )
    if answer.fresh_items():
        notes.append(
            "Every replicate draws items of its own from the rule of the data, shared by all cells: replicates are "
            "independent, and no interval is corrected for overlap."
        )
    notes += tuning_notes(answer) if study.tunes_itself is None else [study.tunes_itself]
    if study.batched:
        notes += budget.words(study, answer.cells)
    notes += _design_notes(study)
    notes += race.notes_of(study, answer.rows)
    notes += sensitivity.notes_of(answer.effects, answer.complete_cases)
    notes += [
        f"A control that means nothing here: {why}."
        for name, why in planning.undefined_controls(study).items()
        if OTHER_SIDE not in name  # that the nearest width is near enough is no news
    ]
    notes += _baseline_notes(answer)
    sizes: Any = answer.trials["n_train"].dropna() if "n_train" in answer.trials else []
    if study.batched and len(sizes) and study.recipe.batch > max(sizes):
        notes.append(f"recipe.batch is {study.recipe.batch:,}, and {int(max(sizes)):,} items train: one step an epoch.")
    if answer.failures:
        shown = answer.failures[:5]
        more = f" … and {len(answer.failures) - 5} more" if len(answer.failures) > 5 else ""
        notes.append("Failed trials: " + "; ".join(shown) + more)
    notes += answer.provenance.get("notes", [])
    notes += sorted({w for row in answer.rows for w in row.get("warnings") or []})
    return notes


def _design_notes(study: Study) -> list[str]:
    notes = []
    if isinstance(study.design, Factorial):
        factors = study.design.factors
        if len(factors) > 1:
            notes.append(
                "Main effects are means over the cells that differ in nothing else; an interaction says how much more "
                "one level is worth beside the other than without it. Both hold for these levels only. Verdicts on "
                "interactions are corrected for their number (Holm), their intervals are not. Where a main effect "
                "depends on another factor, its simple effects at each of its levels stand beside it, uncorrected."
            )
        notes += study.design.aliases()
        if study.controls and not study.design.controlled:
            notes.append(
                "Main effects have no controls: a [[design.controlled]] table (factor, level) adds a contrast in which "
                "controls take the swap's place."
            )
        known = {c.swap.partition(" (")[0] for c in study.design.contrasts(False)}
        unpaired = [f"{f}={x}" for f, levels in factors.items() for x in list(levels)[1:] if f"{f}={x}" not in known]
        if unpaired and len(factors) > 1:
            notes.append(f"Nothing can be told of {', '.join(unpaired)}: no trained cell is its partner.")
    skipped = getattr(study.design, "skipped", None)
    if skipped:
        notes.append("Not tried: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()) + ".")
    return notes


def _baseline_notes(answer: StudyAnswer) -> list[str]:
    study, notes = answer.config, []
    table: Any = answer.trials
    if study.baselines:
        against = ", ".join(map(repr, study.design.references()))
        notes.append(f"Baselines are compared with {against}, which need not be the best of the networks.")
    for column, words in (
        ("baseline_tried", "chose its settings by validation, in each replicate among {:,} candidates"),
        ("baseline_items", "was fitted to {:,} of the training items"),
    ):
        for name, mine in table[table["status"] == "done"].groupby("cell", sort=False) if column in table else ():
            count = mine[column].max()
            if count > 1 and not (column == "baseline_items" and count >= mine["n_train"].max()):
                notes.append(f"{name}: it {words.format(int(count))}.")
    return notes


def _start_notes(answer: StudyAnswer, study: Study) -> list[str]:
    notes = []
    checkpoint = as_named(study.design.host, "host").get("checkpoint")
    if checkpoint:
        left = checkpoint.get("leave")
        notes.append(
            f"Every replicate starts from one checkpoint (SHA-256 {str(checkpoint.get('sha256'))[:16]}…)"
            + (f", except {', '.join(left)}" if left else "")
            + ": replicates vary the split, the new components' weights and the order, not the host. dopant "
            "cannot know what the checkpoint was trained on: had it seen items that are tested here, scores of "
            "every level would be too high."
        )
    unlabelled = any(cell.control == "shuffled-labels" for cell in answer.cells)
    if unlabelled and (checkpoint or study.recipe.regime == "distil"):
        notes.append(
            "Shuffled labels: the start, or the distillation, has seen true labels, so a score above chance is no "
            "sign of a leak here."
        )
    if study.recipe.regime != "all" and not checkpoint and callable_host(study.design.host):
        notes.append(
            f"Regime {study.recipe.regime} without a checkpoint: the host starts from random weights"
            + (", and everything outside the slots stays at them." if study.recipe.regime == "freeze" else ".")
        )
    if study.recipe.regime == "freeze":
        notes.append(
            f"Regime freeze: in every cell only the slots {', '.join(study.slots())} were trained (at level 0 the "
            "old modules there)."
        )
    if study.recipe.regime == "distil":
        notes.append(
            f"Regime distil: each new component first imitated the old module for {study.recipe.distil_epochs} "
            "epochs, then the whole network was trained; cells with more components had more steps in all. The "
            "imitation error is that of the component alone, on the old module's inputs."
        )
        notes += _poor_imitations(answer)
    return notes


def _poor_imitations(answer: StudyAnswer) -> list[str]:
    """A sentence for each component of a level whose imitation error stays above one half."""
    done: Any = answer.trials[answer.trials["status"] == "done"]
    prefix = "imitation_end_"
    found = []
    for cell in answer.cells:
        mine: Any = done[done["cell"] == cell.name] if cell.role == "level" else done.iloc[:0]
        for column in (c for c in mine.columns if c.startswith(prefix) and mine[c].notna().any()):
            error = float(mine[column].mean())
            if error > 0.5:
                found.append(
                    f"{cell.name}: what stands in {column.removeprefix(prefix)} imitates the old module poorly "
                    f"(error {error:.2g}; 1 is its mean output): raise recipe.distil_epochs or distil_lr."
                )
    return found


def callable_host(host: Any) -> bool:
    """Whether a host of this process is built afresh for each replicate."""
    from torch import nn

    if isinstance(host, Mapping):
        try:
            host = local.get(host["name"])
        except ConfigError:
            return True
    return not isinstance(host, nn.Module)

"""One dry step of each cell on the device at hand: what a trial would do, timed and measured, with nothing kept.

Data and networks are built as a trial builds them, and the trial's own loop takes the steps. Nothing is written, and
every generator is left where it was.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .._slots import as_call
from ..cost import forward_flops
from ..memory import available, resident
from ..streams import Streams, default_generators
from . import plan as planning
from .config import Study

TIMED = 3  # steps, of which the median counts
ENOUGH_SECONDS = 2.0  # a step that takes longer is timed once


@dataclass(frozen=True)
class Dry:
    """What one cell costs. seconds: of a training step, of a batch of evaluation, and of an
    epoch's end, which writes its metrics and a checkpoint. memory: estimated bytes alive at
    once (see Footprint); measured: on a GPU what was allocated at most, on the CPU how much the process grew (less than
    estimated where it could use again what earlier cells had left). state: bytes of a checkpoint, items: of the
    predictions on the test set. flops: of a forward pass, a sample; None where they cannot be counted."""

    cell: str
    parameters: int
    flops: float | None
    step_seconds: float
    evaluation_seconds: float
    save_seconds: float
    memory: int
    measured: int | None
    how: str
    state: int
    items: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Nowhere:
    """A keeper that keeps nothing."""

    epochs = None
    warnings: list[str] = []  # noqa: RUF012

    def restore(self) -> None:
        return None

    def save(self, state: Any) -> None: ...

    def due(self) -> bool:
        return False

    def alive(self) -> None: ...

    def log(self, epoch: int, metrics: dict[str, Any]) -> None: ...

    def progress(self, **values: Any) -> None: ...


def dry_steps(study: Study) -> list[Dry]:
    """One Dry a cell, controls too (those that cannot be built are left out, as in the study).

    Only for tasks that train on batches; none for others. Raises what a trial would raise. Cost: for each cell its
    building, a few steps and two batches of evaluation; cells that differ in the learning rate alone share them.
    """
    from ..tasks.build import build_data
    from .run import check

    if not study.batched or study.data is None:
        return []
    # What cannot be built, or cannot fit, is refused before any of it is taken.
    study = study.with_(unbuildable=check(study, {})[1])
    with default_generators():
        threads = torch.get_num_threads()
        torch.set_num_threads(study.recipe.threads)
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # as the task does
        try:
            cells = [cell for cell in planning.cells(study) if cell.baseline is None]
            first = planning.describe(study, cells[0], 0, study.recipe, {})
            data = build_data(first, Streams(study.seed, 0))
            taken: dict[str, Dry] = {}
            for cell in cells:
                key = planning.build_key(study, cell)
                if key not in taken:
                    taken[key] = _dry(study, cell, data)
            return [replace(taken[planning.build_key(study, cell)], cell=cell.name) for cell in cells]
        finally:
            torch.set_num_threads(threads)
            torch.backends.mha.set_fastpath_enabled(fast)


def _dry(study: Study, cell: Any, data: Any) -> Dry:
    from ..tasks.build import build_model, device_of, sample_of
    from ..tasks.supervised import watched
    from ..training.footprint import Meter
    from ..training.loop import Loop
    from ..training.regimes import freeze_rest
    from .checkpoint import flatten

    recipe, streams = planning.recipe_of(study, cell), Streams(study.seed, 0)
    description = planning.describe(study, cell, 0, recipe, {})
    model = build_model(description, streams, data)
    if "trained_slots" in description:
        freeze_rest(model, description["trained_slots"])
    device = device_of(recipe.device)
    batch, eval_batch = sizes(recipe, data)
    foot = Meter(model, data.train, recipe, device).footprint(batch, eval_batch)
    try:
        flops = forward_flops(model, as_call(sample_of(description, data)), min(2, len(data.train)), batch=batch)
    except Exception:  # a cost that cannot be counted keeps nobody from training
        flops = None
    room = available(device)
    if foot.bytes > room.bytes:  # it would only be killed
        return Dry(
            cell.name,
            _count(model),
            flops,
            float("nan"),
            float("nan"),
            float("nan"),
            foot.bytes,
            None,
            foot.how,
            foot.fixed,
            0,
        )
    loop = Loop(
        model, data, recipe, streams, Nowhere(), epochs=recipe.epochs, slots=watched(model, cell.swaps),
        protocol=study.protocol, device=device,
    )  # fmt: skip
    loop.model.train()
    order = torch.arange(len(data.train)).split(recipe.batch)
    _forget_peak(device)
    before = _used(device)
    seconds: list[float] = []
    grown = 0
    with loop.draws:
        for number in range(TIMED + 1):  # the first warms up
            start = _now(device)
            loop._step(order[number % max(1, len(order) - 1)], len(order), None, {})
            seconds.append(_now(device) - start)
            grown = max(grown, (_used(device) or 0) - (before or 0))
            if number and seconds[-1] > ENOUGH_SECONDS:
                break
        state = sum(t.numel() * t.element_size() for t in flatten(loop.state())[1].values())
        evaluation, items = _evaluation(loop, data, device)
        saving = _saving(loop.state())
        grown = max(grown, (_used(device) or 0) - (before or 0))
    measured = None if before is None else grown
    return Dry(
        cell.name, _count(model), flops, statistics.median(seconds[1:]), evaluation, saving, foot.bytes, measured,
        foot.how, state, items,
    )  # fmt: skip


def sizes(recipe: Any, data: Any) -> tuple[int, int]:
    """(samples of a training step, of a batch of evaluation): the recipe's, where the splits have as many."""
    longest = max(len(data.validation), len(data.test), 1)
    return max(1, min(recipe.batch, len(data.train))), max(1, min(recipe.eval_batch, longest))


def _evaluation(loop: Any, data: Any, device: torch.device) -> tuple[float, int]:
    """(seconds of a full batch of evaluation, bytes of all test items' rows), measured on training items."""
    from ..datasets.source import Split

    split = Split(data.train.pool, data.train.ids[: sizes(loop.recipe, data)[1]])
    loop.data = replace(data, validation=split)
    seconds = []
    scores = None
    for _ in range(2):
        start = _now(device)
        scores = loop.score("validation", 0)
        seconds.append(_now(device) - start)
    assert scores is not None
    row = sum(t.numel() * t.element_size() for t in scores.items.values()) / len(split)
    share = max(len(data.validation), len(data.test), 1)
    full = min(loop.recipe.eval_batch, share) / len(split)
    return seconds[-1] * full, round(row * len(data.test))


def _saving(state: Any) -> float:
    """Seconds of the end of an epoch, in a folder that is removed again; its disk may be faster than the study's."""
    from .checkpoint import write
    from .folder import append_line

    seconds = []
    with tempfile.TemporaryDirectory(prefix="dopant-") as scratch:
        for generation in range(1, TIMED + 1):
            start = time.perf_counter()
            append_line(Path(scratch) / "metrics.jsonl", {"epoch": generation})
            write(Path(scratch), generation, state)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _count(model: Any) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # this process's own high-water mark


def _used(device: torch.device) -> int | None:
    """The most memory so far: what a GPU had allocated, or the process's high-water mark."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident("VmHWM")

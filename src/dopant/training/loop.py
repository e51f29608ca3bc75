"""The epoch loop: data in memory, batches by index, everything resumable to the bit.

What a step does depends on (weights, optimizer state, step number) and the named streams only, so a checkpoint is
weights, optimizer, counters and the sums of the epoch under way; no generator state.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .._build import cast
from ..datasets.source import Dataset
from ..errors import TrialFailed
from ..recipe import Recipe
from ..registry import metrics as metric_registry
from ..registry import rules
from ..streams import Streams
from . import lifecycle_calls as lifecycle
from . import parts
from .distil import Distillation
from .evaluate import Scores, evaluate, to_device
from .reseed import Reseeder

CALL = "call:"  # before what components tell of their calls, among the sums of an epoch


@dataclass
class Progress:
    """The loop's counters: what a checkpoint holds beside tensors."""

    epoch: int  # the epoch under way; phases of components are numbered below 1
    batch: int = 0  # batches of it already done
    step: int = 0  # optimizer steps since the start
    seconds: float = 0.0  # of all epochs that ended
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch under way
    best: float | None = None
    best_epoch: int | None = None
    prepared: bool = False
    stopped: bool = False
    imitation: dict[str, dict[str, float]] = field(default_factory=dict)  # {"start" or "end": {slot: error}}

    def next_epoch(self) -> None:
        self.epoch = 1 if self.epoch == -1 else self.epoch + 1
        self.batch, self.sums = 0, {}


class Loop:
    """Training of one model on one data set by one recipe.

    keeper: where states and metrics go (dopant.study.keeper.Keeper, or anything with its methods).
    slots: names of submodules whose gradient norm is logged, as `grad_norm_SLOT`: of all gradients in it together,
    before any clipping, the mean over the steps of an epoch (0 where no gradient reaches it).
    protocol "published" reads the test set every epoch.
    distillation: what the components of the model imitate before all else, for the recipe's `distil_epochs`.
    held: modules that stay in evaluation throughout.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        recipe: Recipe,
        streams: Streams,
        keeper: Any,
        *,
        epochs: int,
        slots: list[str],
        protocol: str | None = None,
        device: torch.device | None = None,
        distillation: Distillation | None = None,
        held: Sequence[nn.Module] = (),
    ):
        self.device = device or torch.device("cpu")
        wide = cast(model, torch.float64) if recipe.precision == "float64" else model
        self.model = wide.to(self.device)
        self.data, self.recipe, self.streams, self.keeper = data, recipe, streams, keeper
        self.epochs, self.protocol = epochs, protocol
        self.metrics = [metric_registry.get(name) for name in parts.default_metrics(recipe)]
        self.loss = parts.losses.get(recipe.loss)
        self.rule = rules.get(recipe.rule)(self.model, self.loss)
        self.optimizer = parts.build_optimizer(recipe, self.model)
        self.distillation, self.held = distillation, held
        self.schedule = parts.schedules.get(recipe.schedule)
        self.phases = lifecycle.phases(self.model)
        self.slots = {name: list(self.model.get_submodule(name).parameters()) for name in slots}
        self.distil_until = -sum(p.epochs for _, p in self.phases)  # epochs below this one distil
        first = self.distil_until - (recipe.distil_epochs if distillation is not None else 0)
        self.progress = Progress(epoch=first or 1)  # phases and distilling are numbered below 1
        if not self.phases:
            self.distil_until = 1
        self.best_state: dict[str, torch.Tensor] = {}
        self.test_reads = 0
        self.draws = Reseeder(self.model, streams)
        self.targets: Any = None  # to train on, of the whole training split, where a component chooses them
        self.told = time.perf_counter()

    # --- states -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on."""
        return {
            "progress": dict(vars(self.progress)),
            "model": tensors_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best_state,
            "test_reads": self.test_reads,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of this loop."""
        self.progress = Progress(**state["progress"])
        load_tensors(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        restore_dtypes(self.optimizer, state["optimizer"])
        self.best_state, self.test_reads = state["best"], state["test_reads"]

    # --- training ---------------------------------------------------------------------------------------------------

    def run(self, reads_test: bool = False) -> None:
        """Train to the last epoch, from the keeper's last state if it has one.

        reads_test: whether `test` follows; the read is counted and kept before it happens, so none is ever forgotten.
        """
        state = self.keeper.restore()
        if state is not None:
            self.restore(state)
        if lifecycle.changes_targets(self.model):
            self.targets = lifecycle.training_targets(self.model, self.data.train.targets, self.streams)
        with self.draws:
            if not self.progress.prepared:
                self._prepare()
                if self.distillation is not None:
                    self.progress.imitation["start"] = self._imitation()
            while self.progress.epoch <= self.epochs and not self.progress.stopped:
                distilled = self._distils()
                self._epoch()
                if not self.progress.stopped:
                    self.progress.next_epoch()
                if distilled and not self._distils():  # the network's own training starts with a fresh optimizer
                    self.optimizer = parts.build_optimizer(self.recipe, self.model)
                self.keeper.save(self.state())
        if reads_test:
            self.test_reads += 1
            self.keeper.save(self.state())
        if self.best_state:  # early stopping answers with the best epoch; the checkpoint can still go on from the last
            load_tensors(self.model, self.best_state)

    def test(self) -> Scores:
        """The test set's scores; `run(reads_test=True)` has counted the read."""
        with self.draws:
            return self.score("test", 0)

    def _prepare(self) -> None:
        self.draws.at("prepare", 0)
        order = self._order(0)[: 4 * self.recipe.batch]
        batches = [self._batch(self.data.train, indices)[0] for indices in order.split(self.recipe.batch)]
        lifecycle.prepare(self.model, batches, self.streams)
        self.progress.prepared = True

    def _epoch(self) -> None:
        progress, recipe = self.progress, self.recipe
        self.model.train()
        for module in self.held:
            module.eval()
        moving = self._moving()
        order = self._order(progress.epoch).split(recipe.batch)
        begun = set(progress.sums)  # by an earlier attempt, which may have watched fewer slots
        sums = {k: torch.tensor(v, dtype=torch.float64, device=self.device) for k, v in progress.sums.items()}
        clock = time.perf_counter() - float(sums.pop("seconds", torch.zeros(())))
        for indices in order[progress.batch :]:
            self.keeper.alive()
            self._step(indices, len(order), moving, sums)
            if time.perf_counter() - self.told > 1:
                self._tell(progress.batch / len(order), sums)
            if self.keeper.due():
                progress.sums = self._sums(sums) | {"seconds": time.perf_counter() - clock}
                self.keeper.save(self.state())
        values = self._sums(sums)
        seconds = time.perf_counter() - clock
        count = values.pop("count")
        row = {_column(k): v / count for k, v in values.items()}
        for name in self.slots:
            key = f"grad_norm_{name}"
            row[key] *= count / len(order)  # a mean over steps, not over samples
            if begun and key not in begun:  # of some of the steps only
                del row[key]
        row["seconds"] = seconds
        progress.seconds += seconds
        if self._distils():
            row["imitation_loss"] = row.pop("train_loss")
            progress.imitation["end"] = self._imitation()
            row |= {f"imitation_error_{slot}": error for slot, error in progress.imitation["end"].items()}
        row |= self._held_out(progress.epoch)
        self._early_stop(row)
        self.keeper.log(progress.epoch, row)
        self.told = time.perf_counter()
        self.keeper.progress(
            epoch=progress.epoch, fraction=0.0, epochs=self.epochs, step=progress.step,
            loss=row.get("train_loss", row.get("imitation_loss")),
            accuracy=row.get("validation_accuracy", row.get("test_accuracy", row.get("train_accuracy"))),
        )  # fmt: skip

    def _tell(self, fraction: float, sums: dict[str, torch.Tensor]) -> None:
        """Where the epoch under way is, for those who watch."""
        self.told = time.perf_counter()
        count, first = float(sums["count"]), self.metrics[0].name
        self.keeper.progress(
            epoch=max(0, self.progress.epoch - 1), fraction=fraction, epochs=self.epochs, step=self.progress.step,
            loss=float(sums["loss"]) / count, **({first: float(sums[first]) / count} if first in sums else {}),
        )  # fmt: skip

    def _step(
        self, indices: torch.Tensor, batches: int, moving: set[int] | None, sums: dict[str, torch.Tensor]
    ) -> None:
        progress, recipe = self.progress, self.recipe
        inputs, targets = self._batch(self.data.train, indices, (progress.epoch, progress.batch))
        if self.targets is not None:
            chosen = pytree.tree_map(lambda leaf: leaf.index_select(0, indices), self.targets)
            targets = to_device(chosen, self.device, None)
        self.draws.at(f"train:{progress.epoch}", progress.batch)  # not by step: a phase of one cell shifts no other
        finished = max(0, progress.epoch - 1) + progress.batch / batches
        factor = self.schedule.factor(finished, self.epochs, **recipe.schedule_options)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.lr * factor if not self._distils() else recipe.distil_lr or recipe.lr
        self.optimizer.zero_grad(set_to_none=True)
        outputs = None
        try:
            with self._autocast():
                if self._distils():
                    assert self.distillation is not None
                    loss, extra = self.distillation(inputs)
                else:
                    loss, outputs, extra = self.rule(inputs, targets)
        except TrialFailed as error:
            raise TrialFailed(error.reason, f"{error} at epoch {progress.epoch}, step {progress.step}") from None
        if moving is not None:
            for parameter in self.model.parameters():
                if id(parameter) not in moving:
                    parameter.grad = None
        with torch.no_grad():
            for name, parameters in self.slots.items():
                grads = [p.grad for p in parameters if p.grad is not None]
                add(sums, f"grad_norm_{name}", torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(()))
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimizer.step()
        progress.step += 1
        progress.batch += 1
        lifecycle.after_step(self.model, progress.step)
        with torch.no_grad():
            add(sums, "count", torch.tensor(float(len(indices))))
            add(sums, "loss", loss * len(indices))
            for metric in self.metrics if outputs is not None else ():
                add(sums, metric.name, metric.function(outputs, targets).sum())
            for name, value in extra.items():
                add(sums, f"extra_{name}", value * len(indices))
            for name, value in lifecycle.call_metrics(self.model).items():
                add(sums, f"{CALL}{name}", value * len(indices))

    def _held_out(self, epoch: int) -> dict[str, float]:
        """Validation metrics, and the test set's under the protocol that publishes it every epoch."""
        row: dict[str, float] = {}
        if len(self.data.validation):
            row |= self.score("validation", epoch).means("validation_")
        if self.protocol == "published":
            self.test_reads += 1
            row |= self.score("test", epoch).means("test_")
        for name, value in row.items():
            if not math.isfinite(value):
                raise TrialFailed("not finite", f"{name} is {value} in epoch {epoch}")
        return row

    def score(self, split: str, epoch: int) -> Scores:
        with self._autocast():
            return evaluate(
                self.model, getattr(self.data, split), self.loss, self.metrics, batch=self.recipe.eval_batch,
                device=self.device, precision=self.recipe.precision,
                before=lambda number: self.draws.at(f"{split}:{epoch}", number),
            )  # fmt: skip

    def _early_stop(self, row: dict[str, float]) -> None:
        if self.recipe.early_stop is None or self.progress.epoch < 1:
            return
        first = self.metrics[0]
        key = f"validation_{first.name}"
        if key not in row:
            return
        value = row[key] if first.higher_is_better else -row[key]
        if self.progress.best is None or value > self.progress.best:
            self.progress.best, self.progress.best_epoch = value, self.progress.epoch
            self.best_state = {k: v.clone() for k, v in tensors_of(self.model).items()}
        elif self.progress.epoch - (self.progress.best_epoch or 0) >= self.recipe.early_stop:
            self.progress.stopped = True

    # --- pieces -----------------------------------------------------------------------------------------------------

    def _order(self, epoch: int) -> torch.Tensor:
        return torch.randperm(len(self.data.train), generator=self.streams.generator("order", epoch))

    def _batch(self, split: Any, indices: torch.Tensor, at: tuple[int, int] | None = None) -> tuple[Any, Any]:
        """at: (epoch, batch of it), where the items are trained on: a split that corrupts them draws by it."""
        fresh = getattr(split, "batch_at", None)
        inputs, targets = split.batch(indices) if fresh is None or at is None else fresh(indices, *at)
        return to_device(inputs, self.device, self.recipe.precision), to_device(targets, self.device, None)

    def _distils(self) -> bool:
        """Whether the epoch under way is one in which components imitate the old modules."""
        return self.distillation is not None and self.progress.epoch < self.distil_until

    def _imitation(self) -> dict[str, float]:
        """{slot: imitation error} on the validation split; without one, on the first thousand training items."""
        assert self.distillation is not None
        split = self.data.validation if len(self.data.validation) else self.data.train
        indices = torch.arange(len(split) if split is self.data.validation else min(len(split), 1000))

        def batches() -> Iterator[Any]:
            for number, part in enumerate(indices.split(self.recipe.eval_batch)):
                self.draws.at(f"imitation:{self.progress.epoch}", number)
                yield self._batch(split, part)[0]

        with self._autocast():
            return self.distillation.errors(batches())

    def _moving(self) -> set[int] | None:
        """ids of the parameters that move in this epoch's phase; None in ordinary epochs (all)."""
        if self._distils():
            assert self.distillation is not None
            return {id(p) for p in self.distillation.parameters()}
        left = -self.progress.epoch
        for owner, phase in reversed(self.phases):
            if 0 < left <= phase.epochs:
                return {id(p) for p in lifecycle.trainable_in(self.model, owner, phase)}
            left -= phase.epochs
        return None

    def _sums(self, sums: dict[str, torch.Tensor]) -> dict[str, float]:
        values = {k: float(v) for k, v in sums.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrialFailed("not finite", f"{name} is {value} in epoch {self.progress.epoch}")
        return values

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.recipe.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()


def _column(name: str) -> str:
    """How a sum's mean is called in the epoch's line."""
    if name.startswith(CALL):
        return name.removeprefix(CALL)
    return name if name.startswith(("extra_", "grad_norm_")) else f"train_{name}"


def add(sums: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> None:
    """Sum in float64 on the value's device: no wait for a GPU inside the epoch."""
    value = value.to(torch.float64)
    sums[name] = sums[name] + value if name in sums else value


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and all buffers (those outside the state dict too), by dotted name."""
    tensors = {name: p.detach() for name, p in model.named_parameters()}
    return tensors | {name: b.detach() for name, b in model.named_buffers()}


def load_tensors(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors_of` back, in place. TrialFailed when names or shapes are not this model's.

    A model with `adopt_shapes(tensors)` makes room first: its shapes are known when it is fitted only.
    """
    if callable(adopt := getattr(model, "adopt_shapes", None)):
        adopt(tensors)
    own = tensors_of(model)
    if set(own) != set(tensors):
        different = sorted(set(own) ^ set(tensors))
        raise TrialFailed("checkpoint", f"it belongs to another model; names that differ: {', '.join(different[:5])}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def restore_dtypes(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Give an optimizer's tensors the dtypes they were saved with: `load_state_dict` casts them to the parameter's,
    which rounds what an optimizer keeps in another one (NAdam's product of momenta)."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, entries in saved["state"].items():
        own = optimizer.state[parameters[index]]
        for key, value in entries.items():
            if isinstance(value, torch.Tensor) and own[key].dtype != value.dtype:
                own[key] = value.detach().clone().to(own[key].device)

"""The loop's side of `dopant.lifecycle`: finding the modules that take part, and calling their hooks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from ..errors import TrialFailed
from ..lifecycle import Lifecycle, Phase
from ..streams import Streams
from .reseed import DRAWS, stream_names


def participants(model: nn.Module) -> dict[str, Any]:
    """{dotted name: module} of all that inherit Lifecycle."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Lifecycle)}


def _taking_part(model: nn.Module, kind: str) -> Iterator[tuple[str, Any]]:
    """The participants one by one, each with random draws of its own for this hook."""
    draws = vars(model).get(DRAWS)
    names = _names_of_draws(model) if draws is not None else {}
    for name, module in participants(model).items():
        if draws is not None:
            draws.hook(names[module], kind)
        yield name, module


def _names_of_draws(model: nn.Module) -> dict[nn.Module, str]:
    """Names under which modules draw: the same for a component whether or not something stands around it."""
    return {module: name for name, module in reversed(stream_names(model))}


def call_model(model: nn.Module, inputs: Any) -> Any:
    """`model(inputs)`; a tuple is taken as positional arguments, a dict as keyword ones, as data sets give them."""
    if isinstance(inputs, tuple):
        return model(*inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(inputs)


def extra_losses(model: nn.Module, slot: str | None = None) -> dict[str, torch.Tensor]:
    """All extra losses of the call just made; names are made unique by the module's name where two clash.

    slot: only of the modules there.
    """
    found: dict[str, torch.Tensor] = {}
    for name, module in _taking_part(model, "extra_losses"):
        if slot is not None and name != slot and not name.startswith(slot + "."):
            continue
        for key, value in module.extra_losses().items():
            found[key if key not in found else f"{name}.{key}"] = value
    return found


def call_metrics(model: nn.Module) -> dict[str, torch.Tensor]:
    """`NAME_SLOT` of all that participants tell of the call just made."""
    found: dict[str, torch.Tensor] = {}
    for name, module in participants(model).items():
        if type(module).call_metrics is not Lifecycle.call_metrics:
            found |= {f"{key}_{name}" if name else key: value.detach() for key, value in module.call_metrics().items()}
    return found


def after_step(model: nn.Module, step: int) -> None:
    with torch.no_grad():
        for _, module in _taking_part(model, "after_step"):
            module.after_step(step)


def predict(model: nn.Module, outputs: Any) -> Any:
    """Outputs as scored: each participant may change them, in the order of `named_modules`."""
    for _, module in _taking_part(model, "predict"):
        outputs = module.predict(outputs)
    return outputs


def prepare(model: nn.Module, batches: list[Any], streams: Streams) -> None:
    """Give each participant the inputs that reach it on `batches`, in eval mode and without gradient.

    One pass a participant, in network order, so that a later one sees an earlier one prepared. Batch normalisation that
    has seen no batch yet normalises by these batches, as it will in the first steps: its running averages are still
    those of no data, and what stands behind it would be prepared for inputs of another size. No average moves.
    """
    for module in participants(model).values():
        if type(module).prepare is Lifecycle.prepare:
            continue
        seen: list[tuple[Any, ...]] = []
        handle = module.register_forward_pre_hook(lambda m, args, seen=seen: seen.append(args))
        training = model.training
        try:
            model.eval()
            with torch.no_grad(), _by_batch(model):
                for inputs in batches:
                    call_model(model, inputs)
        finally:
            handle.remove()
            model.train(training)
        with streams.seeded(f"prepare:{_names_of_draws(model)[module]}"), torch.no_grad():
            module.prepare(seen)


@contextlib.contextmanager
def _by_batch(model: nn.Module) -> Iterator[None]:
    """Batch normalisation without any statistics of its own yet goes by the batch; its averages stay as they were."""
    fresh = [
        m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None and not _batches_of(m)
    ]
    kept = [(m, {name: b.clone() for name, b in m.named_buffers(recurse=False)}) for m in fresh]
    try:
        for module in fresh:
            module.train()
        yield
    finally:
        for module, buffers in kept:
            module.eval()
            for name, buffer in buffers.items():
                getattr(module, name).copy_(buffer)


def _batches_of(module: _BatchNorm) -> int:
    seen = module.num_batches_tracked
    return 0 if seen is None else int(seen)


def changes_targets(model: nn.Module) -> list[str]:
    """Names of the participants that choose the targets to train on."""
    taking_part = participants(model).items()
    return [n for n, module in taking_part if type(module).training_targets is not Lifecycle.training_targets]


def training_targets(model: nn.Module, targets: Any, streams: Streams) -> Any:
    """The targets to train on, as the participants named by `changes_targets` choose them one after another.

    TrialFailed where one returns another pytree, or another number of items.
    """
    for name in changes_targets(model):
        with streams.seeded(f"targets:{name}"), torch.no_grad():
            chosen = participants(model)[name].training_targets(targets)
        (had, form), (has, new_form) = pytree.tree_flatten(targets), pytree.tree_flatten(chosen)
        if form != new_form or [len(t) for t in had] != [len(t) for t in has]:
            raise TrialFailed(
                "training targets",
                f"{type(participants(model)[name]).__name__} in {name!r} returns {[tuple(t.shape) for t in has]} for "
                f"targets of {[tuple(t.shape) for t in had]}; return the same pytree with as many items",
            )
        targets = chosen
    return targets


def need_true_targets(model: nn.Module) -> None:
    """TrialFailed where a component chooses the targets, for loops that do not ask it: it would be taken for what it is
    not."""
    choosing = ", ".join(map(repr, changes_targets(model)))
    if choosing:
        raise TrialFailed(
            "training targets",
            f"the component in {choosing} chooses the targets to train on, which a `train` of your own does not ask "
            "for; leave it out of this study, or use the package's loop",
        )


def phases(model: nn.Module) -> list[tuple[str, Phase]]:
    """(module's name, phase) in network order."""
    return [(name, phase) for name, module in participants(model).items() for phase in module.phases()]


def trainable_in(model: nn.Module, owner: str, phase: Phase) -> Iterable[nn.Parameter]:
    """The parameters that move in a phase."""
    own = {id(p) for p in model.get_submodule(owner).parameters()}
    for parameter in model.parameters():
        if phase.trainable == "all" or (id(parameter) in own) == (phase.trainable == "own"):
            yield parameter

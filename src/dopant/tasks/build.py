"""From a trial's description to its data and network: the same in every worker, in the report and in `Answer.model`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from .. import local, pretrained, registry
from .._attention import keep_plain
from .._copy import copy_module
from .._slots import Call
from .._swap import fill
from ..datasets.source import Dataset, load_source
from ..errors import ConfigError
from ..streams import Streams
from ..training.gain import apply_gain


def build_data(description: dict[str, Any], streams: Streams) -> Dataset:
    """The data set of a trial, split as its replicate's stream says, and made into what its task trains on."""
    options = dict(description["data"])
    name = options.pop("name")
    source = local.get(name) if local.is_local(name) else load_source(name, **options)
    drawn = source.draw(streams, description.get("protocol"), description.get("folds"))
    asked = dict(description.get("task") or {})
    task = registry.tasks.get(asked.pop("name")) if asked.get("name") in registry.tasks else None
    return drawn if task is None or task.adapt is None else task.adapt(drawn, streams, **asked)


def build_host(spec: dict[str, Any], streams: Streams, facts: dict[str, Any] | None = None) -> nn.Module:
    """The host, built whole from the stream `host`, before anything is swapped.

    spec: name, options of the factory, and perhaps `checkpoint`, what it starts from (see `dopant.pretrained`).
    facts: `in_channels`, `size`, `classes` of the data, given to factories that have such parameters.
    Raises ConfigError when the factory objects to its options or returns something that is no module, or when the
    checkpoint is not of this host.
    """
    options = dict(spec)
    name, checkpoint = options.pop("name"), options.pop("checkpoint", None)
    model = _host_as_built(name, options, streams, facts or {})
    return model if checkpoint is None else pretrained.load(model, pretrained.spec_of(checkpoint))


def _host_as_built(name: str, options: dict[str, Any], streams: Streams, facts: dict[str, Any]) -> nn.Module:
    factory = host_factory(name)
    if isinstance(factory, nn.Module):
        if options:
            raise ConfigError(f"host {name!r} is a ready module and takes no options")
        return keep_plain(copy_module(factory))
    options = {**_wanted(factory, facts), **options}
    problems = registry.check_options("host", name, factory, options, 0)
    if problems:
        raise ConfigError(problems)
    with streams.seeded("host"):
        model = factory(**options)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"host {name!r} gives a {type(model).__name__}, not a torch.nn.Module")
    return keep_plain(model)


def host_factory(name: str) -> Any:
    """What a host's name stands for: a registered factory, `PACKAGE:NAME` of a registered builder (timm:resnet18),
    `module:callable`, or an object of the caller's process."""
    if local.is_local(name):
        return local.get(name)
    if registry.names_code(name):
        return registry.resolve_callable(name)
    return registry.built_by(name) or registry.hosts.get(name)


def _wanted(factory: Any, facts: dict[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    return {k: v for k, v in facts.items() if k in parameters}


def build_model(
    description: dict[str, Any], streams: Streams, data: Dataset | None = None, host: Any = None
) -> nn.Module:
    """The network of a trial: its host with its swaps. `host` replaces the description's where that object is gone."""
    return fill_host(trial_host(description, streams, data, host), description, streams, data)


def trial_host(
    description: dict[str, Any], streams: Streams, data: Dataset | None = None, host: Any = None
) -> nn.Module:
    """The host of a trial before anything is swapped; see `build_model`."""
    facts = data.facts() if data is not None else {}
    if host is None:
        model = build_host(description["host"], streams, facts)
    else:
        if isinstance(host, nn.Module):
            model = copy_module(host)
        else:
            with streams.seeded("host"):
                model = host(**_wanted(host, facts))
        checkpoint = description["host"].get("checkpoint")
        model = model if checkpoint is None else pretrained.load(model, checkpoint)
    return keep_plain(model)  # level 0 too: every level computes alike, in training and in evaluation


def fill_host(model: nn.Module, description: dict[str, Any], streams: Streams, data: Dataset | None) -> nn.Module:
    """A host with a trial's swaps: itself where there is none, else a filled copy. The recipe's initial gain is applied
    in either case."""
    filled = model
    if description["swaps"]:
        filled = fill(model, description["swaps"], sample_of(description, data), streams, laws=False)
    gained = description.get("gained_slots")
    if gained is None:
        return filled
    filled = copy_module(filled) if filled is model else filled
    apply_gain(filled, gained, description["recipe"]["initial_gain"])
    return filled


def sample_of(description: dict[str, Any], data: Dataset | None) -> Any:
    """What the host is measured with: a few inputs of the data, called as the loop calls the network."""
    if data is None:
        return local.get(description["task"]["sample"])
    inputs = data.sample()
    return Call(**inputs) if isinstance(inputs, dict) else inputs


def device_of(name: str) -> torch.device:
    """ "auto" is a GPU where there is one. ConfigError when a GPU is asked for and there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"recipe.device: {name!r} is asked for, but torch sees no GPU here; use 'auto' or 'cpu'")
    return torch.device(name)

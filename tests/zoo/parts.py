"""What the tests of other people's networks share: plain components, a few steps of training, saving and loading."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.utils import _pytree as pytree

import dopant as dp
from dopant._slots import as_call
from dopant._trees import learn


class Scaled(nn.Module):
    """scale * old(x), with one scale an output; none of the old module's attributes."""

    def __init__(self, old: nn.Module):
        super().__init__()
        self.inner = old
        self.scale = nn.Parameter(torch.tensor(0.9))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        def scaled(leaf: Any) -> Any:
            return self.scale * leaf if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

        return pytree.tree_map(scaled, learn(self.inner(*args, **kwargs)))


@dp.component("zoo-scaled", mode="wrap")
def scaled(old, signature):
    return Scaled(old)


class Twolayer(nn.Module):
    """A linear map through a bottleneck: called as nn.Linear is, with none of its attributes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.down, self.up = nn.Linear(inputs, 3), nn.Linear(3, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(torch.tanh(self.down(x)))


@dp.component("zoo-linear", fills=nn.Linear)
def linear(old, signature):
    return Twolayer(old.in_features, old.out_features)


class Shift(nn.Module):
    """Instead of a normalisation: one shift and one scale a feature."""

    def __init__(self, features: int):
        super().__init__()
        self.shift, self.gain = nn.Parameter(torch.zeros(features)), nn.Parameter(torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * torch.tanh(x) + self.shift


@dp.component("zoo-norm", fills=nn.LayerNorm)
def norm(old, signature):
    return Shift(signature.outputs[-1])


class MeanAttention(nn.Module):
    """Instead of attention: the mean over all positions that are not padded, through a linear map."""

    def __init__(self, features: int, axis: int):
        super().__init__()
        self.out, self.axis = nn.Linear(features, features), axis

    def forward(self, query, key, value, key_padding_mask=None, **kwargs):
        value = torch.tanh(key) + value
        if key_padding_mask is None:
            mean = value.mean(self.axis, keepdim=True)
        else:
            keep = (key_padding_mask == 0).to(value)  # as truth values, or as 0 and -inf
            keep = (keep if self.axis == 1 else keep.T)[..., None]
            mean = (keep * value).sum(self.axis, keepdim=True) / keep.sum(self.axis, keepdim=True)
        return self.out(query + mean), None


@dp.component("zoo-attention", fills=nn.MultiheadAttention)
def attention(old, signature):
    return MeanAttention(old.embed_dim, 1 if old.batch_first else 0)


def call(model: nn.Module, sample: Any) -> Any:
    arguments = as_call(sample)
    return model(*arguments.args, **arguments.kwargs)


def tensors(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(learn(outputs)) if isinstance(leaf, torch.Tensor)]


def same(a: Any, b: Any) -> bool:
    """Whether two outputs are the same bits."""
    pairs = list(zip(tensors(a), tensors(b), strict=True))
    return bool(pairs) and all(torch.equal(x, y) for x, y in pairs)


def train(model: nn.Module, sample: Any, steps: int = 4) -> list[float]:
    """A few steps of SGD towards zero outputs; the losses. Every trainable parameter that takes part moves."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    losses = []
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack([t.square().mean() for t in tensors(call(model, sample)) if t.is_floating_point()]).sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def outputs_in_evaluation(model: nn.Module, sample: Any) -> Any:
    model.eval()
    with torch.no_grad():
        return call(model, sample)


def lives(make: Any, swaps: dict[str, Any], sample: Any, folder: Path, **options: Any) -> nn.Module:
    """Copy, swap, train, save and load a host; the same outputs after loading, by another swap of another host.

    make: builds the host, with other weights each time. Returns the trained network.
    """
    host = make()
    before = {k: v.clone() for k, v in host.state_dict().items() if isinstance(v, torch.Tensor)}
    network = dp.swap(host, swaps, sample, **options)
    assert all(torch.equal(before[k], v) for k, v in host.state_dict().items() if isinstance(v, torch.Tensor))
    start = outputs_in_evaluation(network, sample)
    assert same(start, outputs_in_evaluation(copy.deepcopy(network), sample))
    losses = train(network, sample)
    assert losses[-1] < losses[0]
    trained = outputs_in_evaluation(network, sample)
    assert not same(start, trained)
    safetensors.torch.save_model(network, str(folder / "network.safetensors"))
    other = dp.swap(make(), swaps, sample, seed=7)
    assert not same(trained, outputs_in_evaluation(other, sample))
    safetensors.torch.load_model(other, str(folder / "network.safetensors"))
    assert same(trained, outputs_in_evaluation(other, sample))
    return network

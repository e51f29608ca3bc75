"""A PennyLane QNode where a linear layer was: somebody's circuit as it is, or PennyLane's usual one.

Needs the extra `pennylane`. Sources: Bergholm et al. 2018, arXiv 1811.04968 (PennyLane); Schuld, Bocharov, Svore, Wiebe
2020, arXiv 1804.00633 (the strongly entangling layers of the default circuit).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..._precision import as_parameters, no_autocast
from ...errors import ConfigError, SlotMismatch
from ...registry import component
from ._dressed import Start
from .reupload_linear import refuse_linear

_MOST_QUBITS = 20  # 16 MiB a state; a batch keeps many


class PennyLaneQNode(nn.Module):
    """(..., in_features) -> (..., out_features): a linear map to the circuit's inputs, the QNode, a linear map back.

    A map is left out where the widths are equal. Without `qnode` the circuit is AngleEmbedding (RX) of one angle a
    qubit and `layers` StronglyEntanglingLayers, measured as <Z> of each qubit, on default.qubit by back-propagation.
    qnode: a QNode whose argument `inputs` is (batch, inputs) and whose other arguments are named in `weight_shapes`,
        {name: shape} (a shape of 1 or () is a scalar), as for qml.qnn.TorchLayer. inputs: how many it reads (default:
        in_features). What it measures, one value or many, alone or in a tuple, is taken in order. (TorchLayer itself is
        not used: of a tuple it puts measurements first and samples second.)
    Parameters: weights.NAME, uniform in [0, 2 pi); the maps start as torch's Linear does. All draws are from
    `generator`, else torch's default one.
    Cost: one simulation of PennyLane's a call, which takes about a hundred times the time of a linear layer on a few
    qubits and doubles with each qubit.
    Under autocast it computes, and gives its outputs, in the precision of its parameters. Raises ConfigError without
    PennyLane and for options that cannot be, all at once.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        qubits: int = 4,
        layers: int = 2,
        qnode: Any = None,
        weight_shapes: Mapping[str, Any] | None = None,
        inputs: int | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        qml = _pennylane()
        problems = _option_problems(qml, qubits, layers, qnode, weight_shapes, inputs)
        if problems:
            raise ConfigError(problems)
        self.in_features, self.out_features = in_features, out_features
        self.qubits = qubits if qnode is None else len(qnode.device.wires or ())
        self.own = qnode is not None
        if qnode is None:
            qnode, weight_shapes, inputs = _usual(qml, qubits), {"weights": (layers, qubits, 3)}, qubits
        inputs = in_features if inputs is None else inputs
        start = Start(generator)
        self.before = start.linear(in_features, inputs, True) if in_features != inputs else nn.Identity()
        self.qnode = qnode
        self.weights = nn.ParameterDict({n: start.angles(s) for n, s in (weight_shapes or {}).items()})
        width = self._measured(inputs)
        self.after = start.linear(width, out_features, bias) if width != out_features else nn.Identity()
        self.to(device=device, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(f"PennyLaneQNode takes (..., {self.in_features}), not {tuple(x.shape)}")
        x = as_parameters(x, next(self.parameters(), x))
        with no_autocast(x.device):
            rows = self.before(x.reshape(math.prod(x.shape[:-1]), self.in_features))
            if len(rows):
                found = self._evaluate(rows)
            else:  # PennyLane refuses an empty batch
                found = rows.new_zeros(0, self._width(rows.shape[-1]))
            return self.after(found).reshape(*x.shape[:-1], self.out_features)

    def _evaluate(self, rows: torch.Tensor) -> torch.Tensor:
        """(batch, inputs) -> (batch, all that is measured), in the dtype of the rows; PennyLane's own is double."""
        found = self.qnode(inputs=rows, **self.weights)
        leaves = [torch.as_tensor(leaf) for leaf in pytree.tree_leaves(found)]
        if any(leaf.ndim == 0 or leaf.shape[0] != len(rows) for leaf in leaves):
            shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
            raise ConfigError(f"'pennylane-qnode': the QNode gives {shapes} for {len(rows)} samples, not a row for "
                              "each; it must take a batch (read `inputs` as inputs[..., i])")  # fmt: skip
        return torch.cat([leaf.reshape(len(rows), -1) for leaf in leaves], dim=1).to(rows.dtype)

    def _measured(self, inputs: int) -> int:
        """How many numbers the QNode gives, seen on samples of zeros. ConfigError where it cannot run on them."""
        samples = inputs + 1  # a QNode that takes a sample's numbers for samples is found out
        try:
            with torch.no_grad():
                return self._evaluate(torch.zeros(samples, inputs)).shape[1]
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"'pennylane-qnode': the QNode fails on inputs of shape ({samples}, {inputs}): {type(error).__name__}: "
                f"{error}; `inputs` says how many it reads, and it must take a batch of rows and its weights by name"
            ) from error

    def _width(self, inputs: int) -> int:
        return self.after.in_features if isinstance(self.after, nn.Linear) else self.out_features

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, qubits={self.qubits}, own={self.own}"

    def cost(self) -> dict[str, Any]:
        """What torch cannot count. The tier is that of the device: finite shots where the QNode takes any."""
        known = (
            getattr(self.qnode, "shots", None) or self.qnode.device.shots
        )  # older releases keep them in the device alone
        shots = known.total_shots or 0
        return {"qubits": self.qubits, "circuits_per_sample": 1, "shots": shots,
                "tier": "finite shots" if shots else "exact"}  # fmt: skip


def _pennylane() -> Any:
    try:
        import pennylane
    except Exception as error:  # one that does not fit numpy or torch fails in other ways than ImportError
        raise ConfigError(
            f"'pennylane-qnode' needs PennyLane, which cannot be imported ({error}): pip install 'dopant[pennylane]'"
        ) from None
    return pennylane


def _usual(qml: Any, qubits: int) -> Any:
    """AngleEmbedding and StronglyEntanglingLayers, <Z> of each qubit."""

    def circuit(inputs: torch.Tensor, weights: torch.Tensor) -> list[Any]:
        qml.AngleEmbedding(inputs, wires=range(qubits))
        qml.StronglyEntanglingLayers(weights, wires=range(qubits))
        return [qml.expval(qml.PauliZ(q)) for q in range(qubits)]

    # a seed of its own: without one the device would draw from NumPy's global generator
    device = qml.device("default.qubit", wires=qubits, seed=0)
    return qml.QNode(circuit, device, interface="torch", diff_method="backprop")


def _option_problems(
    qml: Any, qubits: int, layers: int, qnode: Any, weight_shapes: Mapping[str, Any] | None, inputs: int | None
) -> list[str]:
    problems = []
    if not 1 <= qubits <= _MOST_QUBITS:
        problems.append(f"'pennylane-qnode': qubits is {qubits}; expected 1 to {_MOST_QUBITS}")
    if layers < 1:
        problems.append(f"'pennylane-qnode': layers is {layers}; expected 1 or more")
    if inputs is not None and inputs < 1:
        problems.append(f"'pennylane-qnode': inputs is {inputs}; expected 1 or more")
    if qnode is None and (weight_shapes is not None or inputs is not None):
        problems.append("'pennylane-qnode': weight_shapes and inputs belong to a `qnode` of one's own")
    if qnode is not None and not isinstance(qnode, qml.QNode):
        problems.append(
            f"'pennylane-qnode': qnode is a {type(qnode).__name__}; give a PennyLane QNode (@qml.qnode(device))"
        )
    elif qnode is not None and weight_shapes is None:
        problems.append("'pennylane-qnode': a qnode of one's own needs weight_shapes, {name: shape} of its arguments "
                        "but `inputs`")  # fmt: skip
    return problems


@component(
    "pennylane-qnode",
    fills=refuse_linear,
    controls=["frozen", "bottleneck-mlp", "random-features", "linear-residual", "matched-start"],
    examples=({"qubits": 2, "layers": 1},),  # the laws call it some thousand times
)
def pennylane_qnode(
    old: nn.Module,
    signature: Any,
    *,
    qubits: int = 4,
    layers: int = 2,
    qnode: Any = None,
    weight_shapes: dict[str, Any] | None = None,
    inputs: int | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A PennyLane circuit between linear maps: AngleEmbedding and StronglyEntanglingLayers, or a QNode of one's own.

    Fills Linear; (..., in) -> (..., out). The maps are there where widths differ: in -> qubits (or `inputs`), what the
    circuit measures -> out. A slot without bias stays without. From Python, `qnode` is any QNode with an argument
    `inputs`, and `weight_shapes` the shapes of its others; a study file names no code: there, register a component of
    your own that builds PennyLaneQNode (--with FILE.py).
    Cost: a simulation by PennyLane each call, some ten milliseconds on few qubits; layers * qubits * 3 angles.
    Needs the extra `pennylane`; without it a ConfigError says so. Source: Bergholm et al. 2018, arXiv 1811.04968.
    Raises SlotMismatch where the slot is no linear layer of real numbers.
    """
    reason = refuse_linear(old, signature)
    if reason:
        raise SlotMismatch(f"'pennylane-qnode' cannot fill this slot: {reason}")
    assert isinstance(old, nn.Linear)
    return PennyLaneQNode(
        old.in_features,
        old.out_features,
        qubits=qubits,
        layers=layers,
        qnode=qnode,
        weight_shapes=weight_shapes,
        inputs=inputs,
        bias=old.bias is not None,
        generator=generator,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )

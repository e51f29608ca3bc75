"""Features as the amplitudes that qubits start with, a vector for each sample.

An encoding of k qubits acts on |0…0> of these alone, so it comes before every other gate on them and can be done
first: a circuit with encodings is the rest of its gates on a start state that differs between samples. Both paths of
simulation take it so; `Gate.matrix` gives the isometry as a matrix whose first column is the vector and whose others,
which nothing ever meets, are zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ConfigError
from . import _checks
from .angles import Angle, as_angle, feature

if TYPE_CHECKING:
    from .circuit import Circuit
    from .gate import Gate

NAME = "amplitude_encoding"
UNIT = 1e-5  # by how much a squared norm may differ from 1 where nothing is normalised


def entries(features: Any, room: int, where: str) -> list[Angle]:
    """The amplitudes as angles: a count of columns, columns, angles, or None for as many columns as there is room.

    ConfigError for none, for more than `room`, and for numbers that are no columns.
    """
    count = _checks.whole(features)
    if features is None or count is not None:
        columns: Any = range(room if count is None else count)
    else:
        columns = features
    if count is not None and count < 1:
        raise ConfigError(f"{where}: features={features!r}; take a whole number from 1 to {room}")
    found = []
    for i, column in enumerate(_listed(columns, where)):
        if isinstance(column, Angle):
            found.append(as_angle(column, f"{where}, amplitude {i}"))
        elif _checks.whole(column) is None:
            raise ConfigError(f"{where}, amplitude {i}: the number of a column of the input or an angle, not "
                              f"{column!r}; a vector that is the same for all samples is prepared by "
                              f"templates.amplitude_encoding(vector)")  # fmt: skip
        else:
            found.append(feature(column))
    if not 0 < len(found) <= room:
        qubits = max(1, (len(found) - 1).bit_length())
        more = f"; {qubits} qubits have {1 << qubits}" if found else "; name at least one feature"
        raise ConfigError(f"{where}: {len(found)} features for {room} amplitudes{more}")
    return found


def _listed(columns: Any, where: str) -> list[Any]:
    try:
        return list(columns)
    except TypeError:
        raise ConfigError(f"{where}: features={columns!r}; take how many, range(first, end), or a list of columns and "
                          "angles") from None  # fmt: skip


def padding(pad: Any, where: str) -> float:
    """The pad as a number. ConfigError for anything else."""
    found = as_angle(pad, f"{where}, pad")
    if not found.is_number:
        raise ConfigError(f"{where}: pad={found} is no number; name angles among the features instead")
    return found.constant


def come_first(gates: Sequence[Gate]) -> None:
    """ConfigError where an encoding acts on qubits on which another gate acted before it."""
    if all(g.amplitudes is None for g in gates):
        return
    touched: dict[int, int] = {}
    for i, gate in enumerate(gates):
        if gate.amplitudes is not None:
            for q in gate.qubits:
                if q in touched:
                    j = touched[q]
                    raise ConfigError(f"gate {i} ({gate.name!r}): gate {j} ({gates[j].name!r}) acted on qubit {q} "
                                      "before; amplitudes are what qubits start with: put the encoding first, give "
                                      "it other qubits, or enter features again by rotations")  # fmt: skip
        for q in gate.qubits:
            touched.setdefault(q, i)


def without(circuit: Circuit) -> Circuit:
    """The gates after the start."""
    left = [g for g in circuit.gates if g.amplitudes is None]
    return circuit.with_gates(left) if len(left) < len(circuit) else circuit


def start(circuit: Circuit, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor | None:
    """The state before all other gates, real (batch, 2^n); None where no gate is an encoding. Differentiable.

    features (batch, f), weights (w,). What is raised: see `vector`.
    """
    found, order, batch, n = None, [], features.shape[0], circuit.qubits
    for gate in circuit.gates:
        if gate.amplitudes is not None:
            v = vector(gate, features, weights).expand(batch, -1)
            found = v if found is None else (found[:, :, None] * v[:, None, :]).flatten(1)
            order += gate.qubits
    if found is None:
        return None
    rest = [q for q in range(n) if q not in order]
    if rest:
        found = torch.nn.functional.pad(found[..., None], (0, (1 << len(rest)) - 1)).flatten(1)
    order += rest
    if order == list(range(n)):
        return found
    back = [order.index(q) + 1 for q in range(n)]
    return found.reshape(batch, *[2] * n).permute(0, *back).reshape(batch, 1 << n)


def vector(gate: Gate, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The amplitudes of an encoding of k qubits, real (…, 2^k), the leading axes those of features (…, f).

    Differentiable, through the norm too; numbers of any size, as each row is divided by its largest first.
    A row with NaN or infinite numbers is NaN. ConfigError, naming the sample, for a row that is zero, and without
    `normalise` for one whose squared norm differs from 1 by more than 1e-5 (not looked for under torch.compile and
    transforms of torch.func, where a zero row gives NaN).
    """
    assert gate.amplitudes is not None
    _, normalise = gate.amplitudes
    v = unscaled(gate, features, weights)
    if normalise:
        largest = v.detach().abs().amax(-1, keepdim=True)
        _refuse(largest == 0, gate, "has no amplitude but zeros, which is no state; leave it out, or add something "
                "constant: a pad above 0 where there is room, or feature(i) + 0.01")  # fmt: skip
        v = v / largest
        return v / v.square().sum(-1, keepdim=True).sqrt()
    norm = v.detach().square().sum(-1, keepdim=True)
    _refuse((norm - 1).abs() > UNIT, gate, "has a squared norm of {}, not 1; divide it by its norm, or leave "
            "normalise=True to do so", norm)  # fmt: skip
    return v


def unscaled(gate: Gate, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(…, 2^k) before anything is normalised."""
    assert gate.amplitudes is not None
    columns = gate.columns
    if isinstance(columns, slice):
        v = features[..., columns]
    elif columns is not None:
        v = features.index_select(-1, torch.tensor(columns, device=features.device))
    else:
        values = [a.value(features, weights) for a in gate.angles]
        values = [v if torch.is_tensor(v) else features.new_full((), v) for v in values]
        v = torch.stack(torch.broadcast_tensors(*values), -1)
    return torch.nn.functional.pad(v, (0, (1 << len(gate.qubits)) - len(gate.angles)), value=gate.amplitudes[0])


def norm(gate: Gate, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(…,) of the vector before it is normalised, without overflow."""
    return torch.linalg.vector_norm(unscaled(gate, features, weights).double(), dim=-1).to(features.dtype)


def columns(angles: Sequence[Angle]) -> slice | list[int] | None:
    """The columns that the angles read where each is one feature as it is; a slice where they are neighbours."""
    found = []
    for angle in angles:
        (monomial, c), *more = angle.terms.items() if angle.terms else [((), 0.0)]
        if more or c != 1.0 or len(monomial) != 1 or monomial[0].kind != "feature":
            return None
        found.append(monomial[0].index)
    together = found == list(range(found[0], found[0] + len(found)))
    return slice(found[0], found[0] + len(found)) if together else found


def words(gate: Gate) -> str:
    """What it reads, in short: `x[0:4]`, or one after the other."""
    assert gate.amplitudes is not None
    if isinstance(gate.columns, slice):
        return f"x[{gate.columns.start}:{gate.columns.stop}]"
    return ", ".join(str(a) for a in gate.angles)


def _refuse(bad: torch.Tensor, gate: Gate, what: str, value: torch.Tensor | None = None) -> None:
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or not bool(bad.any()):
        return
    row = int(bad.flatten().nonzero()[0])
    shown = what if value is None else what.format(f"{float(value.flatten()[row]):.6g}")
    on = ", ".join(map(str, gate.qubits))
    whose = f"sample {row} of {math.prod(bad.shape)}" if gate.features else "the vector"
    raise ConfigError(f"{NAME} on qubit{'s' * (len(gate.qubits) > 1)} {on}: {whose} {shown}")

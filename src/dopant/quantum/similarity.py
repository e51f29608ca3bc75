"""Quantum kernels: how alike two inputs are as states of a circuit. For scikit-learn's SVC(kernel=…) and by itself.

Sources: Havlicek et al. 2019 (arXiv 1804.11326), the fidelity kernel; Huang et al. 2021 (arXiv 2011.01938), eq. 9, the
projected kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ._checks import whole
from .circuit import Circuit
from .observables import measurement
from .run import Runner, inputs, weights_of

KINDS = ("fidelity", "projected")


class QuantumKernel:
    """k(x, y) = |<x|y>|^2 of the states that `circuit` makes of the inputs ("fidelity"), or "projected":
    exp(-gamma sum_q |rho_q(x) - rho_q(y)|^2) of their one-qubit reduced states (Frobenius norm).

        SVC(kernel=QuantumKernel(zz_feature_map(8))).fit(X, y)

    weights: those of the circuit, if it has any. block: states that are held at once from each side.
    Precision follows the inputs: float32 stays so, all else is float64. `(X, Y)`: (n, f), (m, f) -> (n, m) NumPy array.
    Cost: n + m circuits in simulation and n m 2^n products; on a device n m circuits (fidelity), n + m (projected).
    ConfigError for inputs with too few columns, that are not finite, or weights of the wrong number.
    """

    def __init__(
        self, circuit: Circuit, *, kind: str = "fidelity", gamma: float = 1.0, weights: Any = None, block: int = 4096
    ):
        if not isinstance(circuit, Circuit):
            raise ConfigError(f"QuantumKernel is made of a Circuit, not of {type(circuit).__name__}")
        if kind not in KINDS:
            raise ConfigError(f"QuantumKernel: kind={kind!r}; take one of {', '.join(map(repr, KINDS))}")
        if not gamma > 0:
            raise ConfigError(f"QuantumKernel: gamma={gamma!r}; take a number above 0")
        if (whole(block) or 0) < 1:
            raise ConfigError(f"QuantumKernel: block={block!r}; take a whole number from 1 on")
        self.circuit, self.kind, self.gamma, self.weights, self.block = circuit, kind, gamma, weights, block
        n = circuit.qubits
        if kind == "fidelity":
            self._runner = Runner(circuit, measurement("state", n))
        else:
            strings = ["I" * q + letter + "I" * (n - 1 - q) for q in range(n) for letter in "XYZ"]
            self._runner = Runner(circuit, measurement(strings, n))
        given = None if weights is None else torch.as_tensor(weights, dtype=torch.float64)
        self._weights = weights_of(circuit, given, torch.zeros(0, dtype=torch.float64))

    def __call__(self, X: Any, Y: Any = None) -> np.ndarray:
        x, same = self._inputs(X, "X"), Y is None or Y is X
        y = x if same else self._inputs(Y, "Y").to(x.dtype)
        out = np.empty((len(x), len(y)), np.float32 if x.dtype == torch.float32 else np.float64)
        with torch.no_grad():
            for i in range(0, len(x), self.block):
                left = self._rows(x[i : i + self.block])
                for j in range(i if same else 0, len(y), self.block):
                    right = left if same and i == j else self._rows(y[j : j + self.block])
                    part = self._alike(left, right)
                    out[i : i + len(left), j : j + len(right)] = part.numpy()
                    if same and i != j:
                        out[j : j + len(right), i : i + len(left)] = part.mT.numpy()
        return out

    def states(self, X: Any) -> torch.Tensor:
        """(n, f) -> (n, 2^q) complex states ("fidelity"), or (n, 3 q) Bloch vectors ("projected")."""
        x = self._inputs(X, "X")
        with torch.no_grad():
            return self._runner(x, self._weights.to(x.dtype))

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        return self._runner(x, self._weights.to(x.dtype))

    def _alike(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if self.kind == "projected":
            # |rho - rho'|^2 = |r - r'|^2 / 2 for Bloch vectors r
            return torch.exp(-0.5 * self.gamma * torch.cdist(left, right).square())
        # real products: half the work of complex ones, as the modulus alone is wanted
        a = torch.cat([left.real, left.imag], 1)
        re = a @ torch.cat([right.real, right.imag], 1).mT
        im = a @ torch.cat([right.imag, -right.real], 1).mT
        return re.square_().add_(im.square_())

    def _inputs(self, X: Any, name: str) -> torch.Tensor:
        array = np.asarray(X)
        if array.ndim != 2:
            raise ConfigError(f"QuantumKernel: {name} has shape {array.shape}; expected (samples, features)")
        if array.dtype != np.float32:
            if array.dtype.kind not in "fiub":
                raise ConfigError(f"QuantumKernel: {name} is {array.dtype}; angles are real numbers")
            array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise ConfigError(f"QuantumKernel: {name} has entries that are NaN or infinite")
        return inputs(self.circuit, torch.from_numpy(np.ascontiguousarray(array)), torch.float64, "QuantumKernel")[0]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """scikit-learn's protocol: what it was made with."""
        return {k: getattr(self, k) for k in ("circuit", "kind", "gamma", "weights", "block")}

    def set_params(self, **params: Any) -> QuantumKernel:
        """scikit-learn's protocol. ConfigError for a name that is none."""
        unknown = sorted(set(params) - set(self.get_params()))
        if unknown:
            raise ConfigError(f"QuantumKernel has no parameter {unknown[0]!r}; known: {', '.join(self.get_params())}")
        given = {**self.get_params(), **params}
        self.__init__(given.pop("circuit"), **given)
        return self

    def __repr__(self) -> str:
        return f"QuantumKernel({self.circuit!r}, kind={self.kind!r})"

"""Control: the Fourier series with a circuit's frequencies, its coefficients trained."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import SlotMismatch
from ...quantum.layer import CircuitLayer
from ...quantum.spectrum import MOST, Spectrum, spectrum
from ...registry import component
from ._inside import InPlaceOfCircuit, component_of, with_circuits
from .flipped_quanv import FlippedQuanv
from .reupload_linear import ReuploadLinear


class FourierSeries(InPlaceOfCircuit):
    """c_0 + sum_k a_k cos(w_k . m(x)) + b_k sin(w_k . m(x)) for each output: (…, features) -> (…, outputs).

    m(x): the features and products of features that the circuit's angles hold; w_k: its spectrum, fixed.
    Parameters: coefficients (1 + 2 frequencies, outputs), the constant first, then all a, then all b.
    """

    frequencies: Tensor

    def __init__(self, layer: CircuitLayer, found: Spectrum, start: str):
        super().__init__(layer)
        self.spectrum, self.angles = found, layer.weights.numel()
        self.register_buffer("frequencies", found.frequencies.to(layer.weights))
        rows = 1 + 2 * len(found.frequencies)
        drawn = torch.randn(rows, self.outputs, dtype=torch.float64, device="cpu") / math.sqrt(rows)
        fitted = self._fit(layer) if start == "target" else drawn
        usable = bool(torch.isfinite(fitted).all())
        self.coefficients = nn.Parameter((fitted if usable else drawn).to(layer.weights))

    def basis(self, x: Tensor) -> Tensor:
        """(…, features) -> (…, 1 + 2 frequencies): 1, the cosines, the sines."""
        angles = self.spectrum.values(x) @ self.frequencies.to(x).mT
        return torch.cat([torch.ones_like(angles[..., :1]), angles.cos(), angles.sin()], -1)

    def forward(self, x: Tensor) -> Tensor:
        return self.basis(x) @ self.coefficients

    @torch.no_grad()
    def _fit(self, layer: CircuitLayer) -> Tensor:
        """The coefficients nearest to the circuit as it starts, by least squares at twice as many random inputs as
        there are coefficients: the circuit itself where the spectrum is complete. Double precision."""
        circuit = layer.circuit
        exact = CircuitLayer(circuit, layer.measured, noise=layer.noise, dtype=torch.float64, device="cpu")
        exact.weights.copy_(layer.weights)
        period = torch.full((circuit.features,), math.pi, dtype=torch.float64)
        for column, monomial in enumerate(self.spectrum.monomials):
            steps = self.spectrum.frequencies[:, column].abs()
            if len(monomial) == 1 and bool((steps > 0).any()):
                period[monomial[0]] = math.pi / steps[steps > 0].min()
        rows = 1 + 2 * len(self.spectrum.frequencies)
        x = (2 * torch.rand(2 * rows + 16, circuit.features, dtype=torch.float64, device="cpu") - 1) * period
        # QR without pivoting: with it, the last bits depend on where the memory lies
        return torch.linalg.lstsq(self.basis(x), exact(x), driver="gels").solution

    def describe(self) -> str:
        """One line: how many frequencies of how many, and the coefficients beside the circuit's angles."""
        have, size = len(self.frequencies), self.spectrum.size
        of = "the whole spectrum" if size is not None else "a random sample of a larger spectrum"
        return f"{have} frequencies, {of}: {self.coefficients.numel()} coefficients for {self.angles} angles"

    def extra_repr(self) -> str:
        return self.describe()


@component("fourier-series", control="surrogate", examples=({}, {"start": "random", "most": 3}))
def fourier_series(
    old: nn.Module,
    signature: Any,
    *,
    most: int = MOST,
    start: Literal["target", "random"] = "target",
    target: nn.Module | None = None,
) -> nn.Module:
    """The component that it controls, each circuit in it replaced by the Fourier series with the circuit's frequencies.

    A circuit's expectation values are such a series in the angles that its features set, with coefficients that its
    other gates tie together; here they are free, so every function of the circuit is among those of the control. All
    else of the component, such as linear maps around the circuit, stays and starts as it does there. Shots are left
    out, noise is not: both have the same frequencies.
    The spectrum is read from the gates: every sum of one of -v, 0, v for each Pauli rotation by v.x, repeated features
    and several frequencies included. most: frequencies (of one sign); where there are more, a random sample of so many,
    the likely ones of the circuit, and the class then no longer holds the circuit's. start: "target", the coefficients
    nearest to the circuit as it starts (least squares; drawn where that has no finite solution), or "random",
    N(0, 1 / their number).
    Fills any slot whose component holds a `CircuitLayer`; without a component, a Linear, for a circuit of 2 qubits.
    Cost: (1 + 2 frequencies) * outputs coefficients, told by `describe()` beside the number of angles; that many
    multiply-adds and 2 * frequencies sines a sample; a least squares fit when it is built (a second for 512).
    Source: Schuld, Sweke and Meyer 2021, arXiv 2008.08605; the sample Landman et al. 2022, arXiv 2210.13200.
    Raises NotDefined where the component holds no circuit, or one without fixed frequencies; SlotMismatch for options.
    """
    problems = []
    if isinstance(most, bool) or most < 1:
        problems.append(f"'fourier-series': most is {most!r}; expected 1 or more")
    if start not in ("target", "random"):
        problems.append(f"'fourier-series': start is {start!r}; expected 'target' or 'random'")
    if problems:
        raise SlotMismatch(problems)
    of = component_of(old, target)
    otherwise = ""
    if isinstance(of, ReuploadLinear):
        otherwise = "its data enter as a Hamiltonian, whose eigenvalues depend on them: there are no fixed frequencies"
    elif isinstance(of, FlippedQuanv):
        otherwise = "its input enters as the observable, so outputs are linear in it; 'psd-conv' has the same functions"
    return with_circuits(of, lambda layer: FourierSeries(layer, spectrum(layer.circuit, most), start), otherwise)

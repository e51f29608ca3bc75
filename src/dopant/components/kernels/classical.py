"""The ordinary kernels: Gaussian, Laplacian, polynomial, linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...registry import component
from .kernel import Kernel, Setting, numbers, refuse

FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the scale of the data
Widths = float | list[float] | Literal["tuned", "scale"]


class RadialKernel(Kernel):
    """A kernel with one width `gamma`. gamma: a number; a list, of which validation chooses; "scale", what the inputs'
    spread says; or "tuned": FACTORS times that, chosen by validation."""

    unit_diagonal = True
    gamma: Tensor  # ()

    def __init__(self, features: int, gamma: Widths = "tuned"):
        super().__init__(features)
        self.told = gamma
        start = 1.0 / features if isinstance(gamma, str) else float(numbers_of(gamma)[0])
        self.register_buffer("gamma", torch.tensor(start))

    def scale(self, x: Tensor) -> float:
        """The width that goes with the spread of the inputs (n, f)."""
        raise NotImplementedError

    def settings(self, x: Tensor) -> list[Setting]:
        if self.told == "scale":
            return [{"gamma": self.scale(x)}]
        if self.told == "tuned":
            scale = self.scale(x)
            return [{"gamma": factor * scale} for factor in FACTORS]
        return [{"gamma": value} for value in numbers_of(self.told)]

    def extra_repr(self) -> str:
        return f"features={self.features}, gamma={self.told!r}"


class RBFKernel(RadialKernel):
    """exp(-gamma |x - y|^2). "scale" is scikit-learn's: 1 / (features * variance of all inputs)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-self.gamma * (x - y).square().sum(-1))

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return torch.exp(-self.gamma * distances(x, y).square())

    def scale(self, x: Tensor) -> float:
        return gaussian_scale(x)


class LaplacianKernel(RadialKernel):
    """exp(-gamma |x - y|_1), |…|_1 the sum of absolute differences. "scale": 1 / (features * standard deviation)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-self.gamma * (x - y).abs().sum(-1))

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return torch.exp(-self.gamma * torch.cdist(x, x if y is None else y, p=1.0))

    def scale(self, x: Tensor) -> float:
        return _inverse(self.features * float(x.double().std(correction=0)))


class PolynomialKernel(Kernel):
    """(gamma x.y + coef0)^degree; gamma and degree from lists, of which validation chooses."""

    gamma: Tensor  # ()
    degree: Tensor  # (), a whole number

    def __init__(self, features: int, degree: int | list[int], coef0: float, factors: Sequence[float]):
        super().__init__(features)
        self.told = (degree, coef0, tuple(factors))
        self.degrees, self.coef0, self.factors = numbers_of(degree), float(coef0), factors
        self.register_buffer("gamma", torch.tensor(1.0 / features))
        self.register_buffer("degree", torch.tensor(float(self.degrees[0])))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.gamma * (x * y).sum(-1) + self.coef0) ** int(self.degree)

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return (self.gamma * (x @ (x if y is None else y).mT) + self.coef0) ** int(self.degree)

    def settings(self, x: Tensor) -> list[Setting]:
        scale = gaussian_scale(x)
        return [{"degree": float(d), "gamma": f * scale} for d in self.degrees for f in self.factors]

    def extra_repr(self) -> str:
        return f"features={self.features}, degree={self.degrees}, coef0={self.coef0:g}"


class LinearKernel(Kernel):
    """x.y"""

    told = ()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1)

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return x @ (x if y is None else y).mT


def distances(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Euclidean, (n, m), from differences: exactly symmetric and 0 on the diagonal."""
    return torch.cdist(x, x if y is None else y, compute_mode="donot_use_mm_for_euclid_dist")


def numbers_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def gaussian_scale(x: Tensor) -> float:
    """1 / (features * variance of all inputs), of (n, features)."""
    return _inverse(x.shape[1] * float(x.double().var(correction=0)))


def _inverse(spread: float) -> float:
    return 1.0 / spread if spread > 0 else 1.0  # inputs that are all alike: any width does


@component("rbf-kernel", fills=Kernel, control="surrogate")
def rbf_kernel(old: nn.Module, signature: Any, *, gamma: Widths = "tuned") -> nn.Module:
    """The Gaussian kernel exp(-gamma |x - y|^2).

    gamma: a number; a list to choose from by validation; "scale": 1 / (features * variance), scikit-learn's default;
    "tuned" (default): 0.01, 0.03, 0.1, … 100 times that, by validation.
    As the control of another kernel it asks whether any smooth notion of likeness would have done; where the host's own
    kernel stands at the level below, the two are the same. Raises ConfigError for a gamma that is not positive.
    """
    refuse(numbers("rbf-kernel", "gamma", gamma, ("tuned", "scale")))
    return RBFKernel(_features(old), gamma)


@component("laplacian-kernel", fills=Kernel, control="surrogate")
def laplacian_kernel(old: nn.Module, signature: Any, *, gamma: Widths = "tuned") -> nn.Module:
    """The Laplacian kernel exp(-gamma |x - y|_1): rougher functions than the Gaussian one's.

    gamma: as for `rbf-kernel`, "scale" being 1 / (features * standard deviation).
    """
    refuse(numbers("laplacian-kernel", "gamma", gamma, ("tuned", "scale")))
    return LaplacianKernel(_features(old), gamma)


@component("polynomial-kernel", fills=Kernel, control="surrogate")
def polynomial_kernel(
    old: nn.Module,
    signature: Any,
    *,
    degree: int | list[int] = [2, 3, 4],  # noqa: B006
    coef0: float = 1.0,
    factors: list[float] = [0.1, 1.0, 10.0],  # noqa: B006
) -> nn.Module:
    """The polynomial kernel (gamma x.y + coef0)^degree.

    degree: 1 to 10, or a list to choose from by validation. coef0: 0 or more. factors: gamma is each of these times
    1 / (features * variance), by validation. Raises ConfigError for what would be no kernel.
    """
    problems = numbers("polynomial-kernel", "factors", factors)
    if not numbers_of(degree) or not all(1 <= d <= 10 for d in numbers_of(degree)):
        problems.append(f"'polynomial-kernel': degree is {degree!r}; expected whole numbers from 1 to 10")
    if not 0 <= coef0 < float("inf"):
        problems.append(f"'polynomial-kernel': coef0 is {coef0!r}; expected a number from 0 on")
    refuse(problems)
    return PolynomialKernel(_features(old), degree, coef0, factors)


@component("linear-kernel", fills=Kernel, control="surrogate")
def linear_kernel(old: nn.Module, signature: Any) -> nn.Module:
    """The linear kernel x.y: a linear classifier of the inputs as they are."""
    return LinearKernel(_features(old))


def _features(old: nn.Module) -> int:
    assert isinstance(old, Kernel)
    return old.features

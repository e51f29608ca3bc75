"""A support vector machine as a host: everything of it is fixed but its slot `kernel`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..components.kernels.classical import RBFKernel
from ..components.kernels.kernel import gram, kernels_of
from ..errors import ConfigError
from ..registry import register_host
from ._options import choice, refuse, whole

SCALINGS = ("none", "standard", "angle")


class KernelMachine(nn.Module):
    """(batch, …) -> (batch, classes): sum_s k(x, support_s) dual_s + bias of the prepared inputs.

    Fitted by the task `kernel`; before that it gives zeros. Slot: `kernel`, called with pairs (x, support vector).
    Of two classes the scores are -s/2 and s/2; of more there is one machine a class, against all others.
    """

    mean: Tensor  # (inputs,)
    directions: Tensor  # (inputs, features), or (0, 0) without principal components
    shift: Tensor  # (features,)
    factor: Tensor  # (features,)
    support: Tensor  # (vectors, features)
    dual: Tensor  # (vectors, columns)
    bias: Tensor  # (columns,)

    def __init__(self, inputs: int, classes: int, scaling: str, pca: int | None, draws: int, C: tuple[float, float]):
        super().__init__()
        features = pca or inputs
        self.inputs, self.classes, self.scaling, self.pca = inputs, classes, scaling, pca
        self.draws, self.C = draws, C
        self.kernel = RBFKernel(features)
        self.columns = 1 if classes == 2 else classes
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("directions", torch.eye(inputs)[:, :features] if pca else torch.zeros(0, 0))
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("factor", torch.ones(features))
        self.register_buffer("support", torch.zeros(1, features))
        self.register_buffer("dual", torch.zeros(1, self.columns))
        self.register_buffer("bias", torch.zeros(self.columns))

    def prepared(self, x: Tensor) -> Tensor:
        """(batch, …) -> (batch, features): flattened, projected, scaled."""
        x = x.flatten(1)
        if self.pca:
            x = (x - self.mean) @ self.directions
        return (x - self.shift) * self.factor

    def forward(self, x: Tensor) -> Tensor:
        kernels_of(self.kernel)  # what is no kernel is refused here, when the slot is filled
        x = self.prepared(x)
        vectors = len(self.support)
        pairs = self.kernel(x.repeat_interleave(vectors, 0), self.support.repeat(len(x), 1))
        return self.spread(pairs.reshape(len(x), vectors) @ self.dual + self.bias)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """`forward` of prepared inputs (n, features), by the kernel's Gram matrix: quicker, without gradients."""
        return self.spread(gram(self.kernel, x, self.support) @ self.dual + self.bias)

    def spread(self, decision: Tensor) -> Tensor:
        """(n, columns) -> (n, classes)."""
        return torch.cat([-decision / 2, decision / 2], 1) if self.columns == 1 else decision

    @torch.no_grad()
    def prepare_inputs(self, x: Tensor) -> None:
        """Set projection and scaling by the training inputs (n, …)."""
        x = x.flatten(1)
        if self.pca:
            if self.pca > min(x.shape):
                raise ConfigError(
                    f"host 'kernel-machine': pca is {self.pca}, and {x.shape[0]} training items of {x.shape[1]} "
                    f"numbers have at most {min(x.shape)} principal components"
                )
            self.mean.copy_(x.mean(0))
            axes = torch.linalg.svd(x - self.mean, full_matrices=False)[2][: self.pca]
            largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))  # signs that do not depend on the library
            self.directions.copy_((axes * largest.sign()).mT)
            x = (x - self.mean) @ self.directions
        if self.scaling == "standard":
            self.shift.copy_(x.mean(0))
            self.factor.copy_(_inverse(x.std(0, correction=0)))
        elif self.scaling == "angle":
            low, high = x.amin(0), x.amax(0)
            self.shift.copy_(low)
            self.factor.copy_(2 * math.pi * _inverse(high - low))

    def adopt_shapes(self, tensors: Mapping[str, Tensor]) -> None:
        """Make room for the support vectors of a kept machine, in its precision."""
        self.to(tensors["support"].dtype)
        for name in ("support", "dual"):
            self.register_buffer(name, torch.zeros_like(tensors[name]))

    def extra_repr(self) -> str:
        return f"inputs={self.inputs}, classes={self.classes}, scaling={self.scaling!r}, pca={self.pca}"


def _inverse(spread: Tensor) -> Tensor:
    return torch.where(spread > 0, 1 / spread.where(spread > 0, torch.ones_like(spread)), torch.ones_like(spread))


@register_host("kernel-machine")
def kernel_machine(
    *,
    in_channels: int = 1,
    size: int = 8,
    in_features: int | None = None,
    classes: int | None = None,
    scaling: str = "none",
    pca: int | None = None,
    draws: int = 54,
    C: list[float] = [1e-2, 1e4],  # noqa: B006
) -> nn.Module:
    """A support vector machine with a Gaussian kernel of tuned width. Slot kernel. Fitted by the task `kernel`.

    Inputs are flattened; every kernel of a study sees the same. scaling, by the training inputs: "none"; "standard",
    each feature to mean 0 and variance 1; "angle", each from 0 to 2 pi. pca: keep this many principal components first.
    draws: candidates that every kernel may try on the validation split, the same number for each: its own settings (as
    many as it offers) times values of C between the two of `C` in equal ratios; what has fewer settings tries more C.
    Raises ConfigError listing every wrong option, and for data without classes.
    """
    problems = whole("kernel-machine", in_channels=in_channels, size=size, draws=draws)
    problems += whole("kernel-machine", in_features=in_features) if in_features is not None else []
    problems += whole("kernel-machine", pca=pca) if pca is not None else []
    problems += choice("kernel-machine", "scaling", scaling, SCALINGS)
    inputs = in_features or in_channels * size**2
    if classes is None:
        problems.append("host 'kernel-machine': it tells classes apart, and the data's targets are values")
    elif isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        problems.append(f"host 'kernel-machine': classes is {classes!r}; expected 2 or more")
    if pca is not None and not problems and pca > inputs:
        problems.append(f"host 'kernel-machine': pca is {pca}, and there are {inputs} inputs")
    if len(C) != 2 or not 0 < C[0] <= C[1] < math.inf:
        problems.append(f"host 'kernel-machine': C is {C!r}; expected the least and the largest, such as [0.01, 1e4]")
    refuse(problems)
    assert classes is not None
    return KernelMachine(inputs, classes, scaling, pca, draws, (C[0], C[1]))

"""Deliberately bad components for a slot like Linear(6, 4): each breaks one law and no other.

`BAD` maps a law to the factories that only it refuses; `FALSE` maps a fact to (the law that tests it, a factory for
which declaring the fact is a lie).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dopant.components.kernels.kernel import Kernel


class Honest(nn.Module):
    """tanh of a linear map: obeys everything. The bad ones change one thing in it."""

    def __init__(self, inputs: int = 6, outputs: int = 4):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        return torch.tanh(self.fc(x))


class WrongShape(Honest):
    def __init__(self):
        super().__init__(6, 5)


class WrongDtype(Honest):
    """Gives double for single, and double for double."""

    def forward(self, x):
        return super().forward(x).double()


class KnowsTheBatchSize(Honest):
    def forward(self, x):
        return super().forward(x) / len(x)


class CentresTheBatchInTraining(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0) if self.training else y


class BlocksTheInputGradient(Honest):
    def forward(self, x):
        return super().forward(x.detach())


class HasAnIdleParameter(Honest):
    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))


class _HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 0.5 * gradient


class GivesHalfTheGradient(Honest):
    def forward(self, x):
        return _HalfGradient.apply(super().forward(x))


class DrawsFromNumpyInTraining(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y * float(np.random.uniform(0.5, 1.5)) if self.training else y


class HasDrawsOfItsOwnInTraining(Honest):
    """A constant factor from a generator of its own, which moves on at each call."""

    def __init__(self):
        super().__init__()
        self.source = [0]

    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            return y
        self.source[0] += 1
        return y * (1 + 0.1 * np.random.default_rng(self.source[0]).uniform())


class IsFaintlyNoisyInEvaluation(Honest):
    """Noise far below every tolerance: only exact comparison sees it."""

    def forward(self, x):
        y = super().forward(x)
        return y + 1e-6 * torch.randn(y.shape[1:], dtype=y.dtype)


class KeepsAConstantOutsideItsState(Honest):
    def __init__(self):
        super().__init__()
        self.constant = torch.randn(4).tolist()

    def forward(self, x):
        return super().forward(x) + torch.tensor(self.constant, dtype=x.dtype)


class ClampsItsInputInPlace(Honest):
    def forward(self, x):
        return super().forward(x.clamp_(-0.5, 0.5))


class CancelsInSinglePrecision(Honest):
    def forward(self, x):
        return (super().forward(x) + 1e5) - 1e5


class CentresLargeBatchesInTraining(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0).detach() if self.training and len(x) >= 8 else y


class CentresLargeBatchesAndDropsOut(CentresLargeBatchesInTraining):
    """Random in training, so that no batch can be compared with its samples."""

    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.1, self.training)


class LeaksGradientInLargeBatchesInTraining(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y + y.mean(0) - y.mean(0).detach() if self.training and len(x) >= 8 else y


class ScalesLargeBatchesInTraining(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y * 8 / len(x) if self.training and len(x) >= 8 else y


class ScalesLargeBatchesInEvaluation(Honest):
    def forward(self, x):
        y = super().forward(x)
        return y * 8 / len(x) if not self.training and len(x) >= 8 else y


class Signs(nn.Module):
    """sign(W) x with a straight-through gradient: the slope is zero in W, the gradient is not."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))

    def forward(self, x):
        return nn.functional.linear(x, self.weight + (self.weight.sign() - self.weight).detach())


class SignsWithoutSurrogate(Signs):
    def forward(self, x):
        return nn.functional.linear(x, self.weight.sign())


class _ThereAndBack(torch.autograd.Function):
    """The identity, by many Fourier transforms and their inverses in NumPy."""

    @staticmethod
    def forward(ctx, x):
        return _there_and_back(x)

    @staticmethod
    def backward(ctx, gradient):
        return _there_and_back(gradient)


def _there_and_back(x):
    found = x.detach().double().numpy()
    for _ in range(10):
        found = np.fft.ifft(np.fft.fft(found)).real
    return torch.from_numpy(found).to(x.dtype)


class WorksInNumpyAndSaysNothing(Honest):
    def forward(self, x):
        return _ThereAndBack.apply(super().forward(x))


class WorksInNumpyAndDeclaresHardlyAnything(WorksInNumpyAndSaysNothing):
    def flops(self, batch):
        return {"forward": {"functions": batch}, "backward": 0}


SIDE = 64


class _Rotates(torch.autograd.Function):
    """The identity, by products with a matrix that is its own inverse, in NumPy."""

    @staticmethod
    def forward(ctx, x):
        return _rotated(x)

    @staticmethod
    def backward(ctx, gradient):
        return _rotated(gradient)


def _rotated(x):
    matrix = (np.eye(SIDE) - np.full((SIDE, SIDE), 2 / SIDE)).astype(np.float32 if x.dtype == torch.float32 else float)
    found = np.zeros((len(x), SIDE), dtype=matrix.dtype)
    found[:, : x.shape[1]] = x.detach().numpy()
    for _ in range(10):
        found = found @ matrix
    return torch.from_numpy(found[:, : x.shape[1]].copy()).to(x.dtype)


class WorksInNumpyAndSaysSo(Honest):
    """Honest: what it does outside of torch is what it declares."""

    times = 1.0

    def forward(self, x):
        return _Rotates.apply(super().forward(x))

    def flops(self, batch):
        once = self.times * 10 * 2 * batch * SIDE**2
        return {"forward": {"products": once}, "backward": {"products": once}}


class DeclaresTenTimesItsWork(WorksInNumpyAndSaysSo):
    times = 10.0


class DeclaresWhatTorchCounts(Honest):
    def flops(self, batch):
        return 1e6 * batch


def _factory(module: type[nn.Module]):
    def factory(old, signature):
        return module()

    factory.__name__ = module.__name__
    return factory


class HonestKernel(Kernel):
    """A Gaussian kernel that obeys everything, for the slot `kernel`. The bad ones change one thing in it."""

    unit_diagonal = True

    def forward(self, x, y):
        return torch.exp(-(x - y).square().sum(-1))


class IsIndefinite(HonestKernel):
    """A sigmoid of the product, symmetric, and no kernel."""

    unit_diagonal = False

    def forward(self, x, y):
        return torch.tanh((x * y).sum(-1) - 1)


class IsNoKernelFarAway(HonestKernel):
    """A box of the distance: positive semi-definite on near points alone."""

    def forward(self, x, y):
        return torch.sigmoid(40 * (2 - (x - y).norm(dim=-1))) / torch.sigmoid(torch.tensor(80.0, dtype=x.dtype))


class IsLopsided(HonestKernel):
    def forward(self, x, y):
        return super().forward(x, 1.01 * y)


class HasNoOnes(HonestKernel):
    def forward(self, x, y):
        return 0.9 * super().forward(x, y)


class HasAnotherGram(HonestKernel):
    def gram(self, x, y=None):
        return super().gram(x, y).square()


class FailsAtASetting(HonestKernel):
    """A kernel at the width it begins with, none at the one that it offers."""

    def __init__(self, features):
        super().__init__(features)
        self.register_buffer("sign", torch.tensor(1.0))

    def forward(self, x, y):
        return torch.exp(-self.sign * (x - y).square().sum(-1))

    def settings(self, x):
        return [{"sign": 1.0}, {"sign": -1.0}]


BAD_KERNELS = [IsIndefinite, IsNoKernelFarAway, IsLopsided, HasNoOnes, HasAnotherGram, FailsAtASetting]

BAD = {
    "signature": [WrongShape],
    "batch": [KnowsTheBatchSize, ScalesLargeBatchesInTraining, ScalesLargeBatchesInEvaluation],
    "no-leak": [CentresLargeBatchesAndDropsOut, LeaksGradientInLargeBatchesInTraining],
    "gradient": [BlocksTheInputGradient, HasAnIdleParameter, GivesHalfTheGradient, Signs, SignsWithoutSurrogate],
    "no-hidden-randomness": [DrawsFromNumpyInTraining],
    "eval-deterministic": [IsFaintlyNoisyInEvaluation],
    "state": [KeepsAConstantOutsideItsState],
    "input-kept": [ClampsItsInputInPlace],
    "precision": [CancelsInSinglePrecision],
    "linear": [Honest],
    "unitary": [Honest],
    "work": [
        WorksInNumpyAndSaysNothing, WorksInNumpyAndDeclaresHardlyAnything, DeclaresTenTimesItsWork,
        DeclaresWhatTorchCounts,
    ],
}  # fmt: skip
DECLARES = {"linear": {"linear": True}, "unitary": {"unitary": True}}  # what the bad ones of these laws claim

FALSE = {
    "stochastic_in_eval": "eval-deterministic",
    "couples_samples": "no-leak",
    "no_input_gradient": "gradient",
    "surrogate_gradient": "gradient",
    "changes_shape": "signature",
    "linear": "linear",
    "unitary": "unitary",
}

factory_of = _factory

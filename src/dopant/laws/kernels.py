"""The law of kernels: what a matrix of likenesses must be for a machine to be fitted to it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..streams import default_generators
from .rules import BATCH_TOLERANCE, law
from .subject import NotTested, Subject, difference

SCALES = (0.3, 1.0, 3.0)  # of the inputs looked at: a function may be a kernel on near points and none on far ones
POINTS = 8  # at each scale
ROUNDING = 1e-8  # of the largest entry or eigenvalue, in double precision


@law("kernel", quick=True)
def kernel(subject: Subject) -> str | None:
    """Of a `Kernel`: its Gram matrix is symmetric and positive semi-definite, has ones on the diagonal where it says
    so, and is its values of pairs, in every setting that it offers. Declared stochastic_in_eval: symmetric, ones."""
    from ..components.kernels.kernel import Kernel  # components are built on the laws' neighbours

    if not isinstance(subject.module, Kernel):
        raise NotTested("it is no kernel")
    module = subject.fresh(False, torch.float64)
    assert isinstance(module, Kernel)
    first = subject.example(POINTS * len(SCALES), salt=101, dtype=torch.float64).args[0]
    x = first * torch.tensor(SCALES, dtype=torch.float64).repeat_interleave(POINTS)[:, None]
    offered = module.settings(x)
    if not offered:
        return "settings() offers none; return [{}] for a kernel without settings of its own"
    for setting in offered[:1] if subject.quick else offered:
        module.use(**setting)
        wrong = _wrong(subject, module, x)
        if wrong:
            return wrong + (f" at {setting}" if setting else "")
    return None


def _wrong(subject: Subject, module, x: Tensor) -> str | None:
    random = subject.declares("stochastic_in_eval")
    with default_generators(subject.key(102)):
        gram = module.gram(x)
    if tuple(gram.shape) != (len(x), len(x)) or not bool(torch.isfinite(gram).all()):
        return f"gram of {len(x)} inputs gives {tuple(gram.shape)}, or entries that are not finite"
    size = float(gram.abs().max())
    if float((gram - gram.mT).abs().max()) > ROUNDING * size:
        i, j = divmod(int((gram - gram.mT).abs().argmax()), len(x))
        return f"is not symmetric: k(x, y) = {float(gram[i, j]):.6g} and k(y, x) = {float(gram[j, i]):.6g}"
    if module.unit_diagonal and float((gram.diagonal() - 1).abs().max()) > ROUNDING:
        return f"declares unit_diagonal but k(x, x) goes down to {float(gram.diagonal().min()):.6g}"
    if random:
        return None
    few = x[:: max(1, len(x) // 6)]
    with torch.no_grad():
        n = len(few)
        pairs = _pairs(module, few)
        gap = max(
            difference([module.gram(few)], [pairs]), difference([module.gram(few, few[: n - 1])], [pairs[:, :-1]])
        )
    if gap > BATCH_TOLERANCE[torch.float64]:
        return f"gram differs by {gap:.1e} from the values of its pairs (relative)"
    values = torch.linalg.eigvalsh((gram + gram.mT) / 2)
    if float(values[0]) < -ROUNDING * max(float(values[-1]), size):
        return f"is not positive semi-definite: an eigenvalue of {float(values[0]):.3g} beside {float(values[-1]):.3g}"
    return None


def _pairs(module, x: Tensor) -> Tensor:
    """(n, n) by forward, pair by pair."""
    return module(x.repeat_interleave(len(x), 0), x.repeat(len(x), 1)).reshape(len(x), len(x))

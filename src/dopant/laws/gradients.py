"""Whether gradients arrive, and whether they are right: the two halves of the law `gradient`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._slots import Call, Spec
from ..lifecycle import Lifecycle
from .subject import Subject, difference, floats, tensors

GRADIENT_TOLERANCE = 1e-4  # gradient against central differences in float64, relative
STEPS = (1e-5, 1e-6, 1e-4)  # of the differences; the first that agrees is enough, for a kink may lie within one


def batched(subject: Subject, call: Any) -> list[Any]:
    specs = pytree.tree_leaves((subject.call_spec.args, subject.call_spec.kwargs))
    values = pytree.tree_leaves((call.args, call.kwargs))
    return [v for s, v in zip(specs, values, strict=True) if isinstance(s, Spec) and s.axis is not None]


def as_leaf(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_() if tensor.is_floating_point() or tensor.is_complex() else tensor


def weigh(subject: Subject, outputs: Any) -> Tensor | None:
    """A scalar that depends on every output: their sum with fixed random weights."""
    generator = torch.Generator().manual_seed(subject.key(99) & (2**63 - 1))
    total = None
    for tensor in floats(outputs):
        flat = (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).reshape(-1)
        # Drawn on the CPU in double, so that every precision and device gets the same weights.
        weights = torch.randn(flat.numel(), generator=generator, dtype=torch.float64).to(flat.device, flat.dtype)
        total = (flat * weights).sum() + (0 if total is None else total)
    return total


def reach(subject: Subject, *, beside: bool) -> tuple[str | None, list[str]]:
    """(what is wrong for good, where the gradient is exactly zero)."""
    module = subject.fresh(True)
    if beside:
        nudge(module, subject)
    call = subject.example(3 if subject.quick else 7, salt=21).map(as_leaf)
    specs = pytree.tree_leaves((subject.call_spec.args, subject.call_spec.kwargs))
    values = pytree.tree_leaves((call.args, call.kwargs))
    inputs = {
        f"input {i}": v
        for i, (s, v) in enumerate(zip(specs, values, strict=True))
        if isinstance(s, Spec) and s.axis is not None and v.requires_grad and not (s.seen and s.seen.tensor is not None)
    }
    parameters: dict[str, Tensor] = {f"parameter {n!r}": p for n, p in module.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        loss = weigh(subject, subject.run(module, call))
        extra = [t.sum() for m in module.modules() if isinstance(m, Lifecycle) for t in m.extra_losses().values()]
    if not inputs and not parameters:
        return None, []
    if loss is not None and not bool(torch.isfinite(loss)):
        return "the output is not finite", []
    to_inputs = _gradients(loss, inputs)
    # What only an extra loss trains (a codebook, say) is trained all the same.
    with_extra = sum([t for t in extra if t.requires_grad], loss if loss is not None else torch.zeros(()))
    to_parameters = _gradients(with_extra, parameters)
    declared = subject.declares("no_input_gradient")
    reached = [n for n, g in to_inputs.items() if g is not None and bool(g.any())]
    if declared and inputs and reached:
        return f"declares no_input_gradient but the gradient reaches {', '.join(reached)}; drop the declaration", []
    wanted = to_parameters if declared else {**to_inputs, **to_parameters}
    missing = [name for name, g in wanted.items() if g is None]
    infinite = [name for name, g in wanted.items() if g is not None and not bool(torch.isfinite(g).all())]
    zero = [name for name, g in wanted.items() if g is not None and g.numel() and not bool(g.any())]
    if missing:
        return f"no gradient reaches {', '.join(missing)}", []
    return (f"the gradient is not finite at {', '.join(infinite)}" if infinite else None), zero


def _gradients(loss: Tensor | None, at: dict[str, Tensor]) -> dict[str, Tensor | None]:
    if loss is None or not loss.requires_grad or not at:
        return dict.fromkeys(at)
    found = torch.autograd.grad(loss, list(at.values()), allow_unused=True, retain_graph=True)
    return dict(zip(at, found, strict=True))


def nudge(module: nn.Module, subject: Subject) -> None:
    """Move every parameter a little, so that none is at a special value."""
    generator = torch.Generator().manual_seed(subject.key(98) & (2**63 - 1))
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                step = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter += 0.05 * step.to(parameter.device, parameter.dtype)


def finite_differences(subject: Subject) -> str | None:
    """In training mode, seeded; where training draws random numbers, in evaluation; where that does too, not at all."""
    wrong = _compare_slopes(subject, training=True)
    if wrong and _is_random(subject, training=True):
        return None if subject.declares("stochastic_in_eval") else _compare_slopes(subject, training=False)
    return wrong


def false_surrogate(subject: Subject) -> str | None:
    """What is wrong with the declaration that the gradient is not the slope: that it is, wherever one looks."""
    if _compare_slopes(subject, training=True) is None:
        return "declares surrogate_gradient but the gradient equals central differences; drop the declaration"
    return None


def _is_random(subject: Subject, training: bool) -> bool:
    call = subject.example(3, salt=22)
    with torch.no_grad():
        a, b = (tensors(subject.run(subject.fresh(training), call, seed)) for seed in (1, 2))
    return difference(a, b) > 0


def off_the_edges(subject: Subject, call: Call) -> Call:
    """The call with the numbers that its measured range cut off moved a little inside: at such an edge (0 after a ReLU)
    a component may have a kink, and they would all lie on it."""
    generator = torch.Generator().manual_seed(subject.key(96) & (2**63 - 1))

    def move(spec: Any, value: Any) -> Any:
        if not isinstance(spec, Spec) or spec.seen is None or not spec.seen.std or not value.is_floating_point():
            return value
        inside = 0.2 * torch.rand(value.shape, generator=generator, dtype=torch.float64).to(value)
        cut = (value <= spec.seen.low) | (value >= spec.seen.high)
        return torch.where(cut, value + inside * (spec.seen.mean - value), value)

    given = (subject.call_spec.args, subject.call_spec.kwargs)
    args, kwargs = pytree.tree_map(move, given, (call.args, call.kwargs))
    return Call(*args, **kwargs)


def _compare_slopes(subject: Subject, *, training: bool) -> str | None:
    double = torch.float64
    module = subject.fresh(training, double)
    buffers = {n: b.clone() for n, b in module.named_buffers()}
    call = off_the_edges(subject, subject.example(3, salt=23, dtype=double)).map(as_leaf)

    def loss() -> Tensor | None:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])
        return weigh(subject, subject.run(module, call))

    at: dict[str, Tensor] = {f"parameter {n!r}": p for n, p in module.named_parameters() if p.requires_grad}
    if not subject.declares("no_input_gradient"):
        leaves = batched(subject, call)
        at |= {f"input {i}": t for i, t in enumerate(leaves) if isinstance(t, Tensor) and t.requires_grad}
    if not at:
        return None
    with torch.enable_grad():
        analytic = _gradients(loss(), at)
    generator = torch.Generator().manual_seed(subject.key(97) & (2**63 - 1))
    for name, tensor in at.items():
        slope = analytic[name]
        slope = torch.zeros_like(tensor) if slope is None else slope
        for step in STEPS:
            direction = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)
            direction /= max(1.0, float(direction.norm()) / 3)  # steps stay small for large tensors too
            values = []
            with torch.no_grad():
                start = tensor.detach().clone()
                for sign in (1, -1):
                    tensor.copy_(start + sign * step * direction)
                    value = loss()
                    values.append(float(value) if value is not None else 0.0)
                tensor.copy_(start)
            numeric = (values[0] - values[1]) / (2 * step)
            exact = float((slope.conj() * direction).real.sum())
            noise = 1e-14 * max(abs(v) for v in values) / step + 1e-8
            if abs(numeric - exact) <= GRADIENT_TOLERANCE * max(abs(numeric), abs(exact)) + noise:
                break
        else:
            return f"at {name} the gradient gives the slope {exact:.6g}, central differences give {numeric:.6g}"
    return None

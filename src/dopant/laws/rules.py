"""What every component must obey. Each law is one function: Subject -> LawResult.

A fact that the component declares excuses it from nothing: the declaration is tested in the law's place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._slots import Batch, Call, CallSpec, Spec, describe, show
from .gradients import as_leaf, batched, false_surrogate, finite_differences, nudge, reach, weigh
from .subject import NotTested, Subject, difference, floats, tensors

BATCH_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}  # one sample alone against the same in a batch, relative
LEAK_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}  # the same shapes and rows: only reductions may reorder
PRECISION_TOLERANCE = 1e-3  # float32 against float64, relative to the largest output
FACT_TOLERANCE = 1e-7  # linear and unitary, in float64, relative


@dataclass(frozen=True)
class LawResult:
    """One law on one module. message: what went wrong, or why it was not tested; where: on which slot."""

    law: str
    passed: bool
    message: str = ""
    where: str = ""


Rule = Callable[[Subject], LawResult]
LAWS: dict[str, Rule] = {}
QUICK: list[str] = []  # those that `dopant.swap` runs


def law(name: str, *, quick: bool = False) -> Callable[[Callable[[Subject], str | None]], Rule]:
    """Decorator: a function that returns None or what is wrong becomes a law; an exception of the module is wrong."""

    def register(test: Callable[[Subject], str | None]) -> Rule:
        def rule(subject: Subject) -> LawResult:
            try:
                wrong = test(subject)
            except NotTested as reason:
                return LawResult(name, True, f"not tested: {reason}")
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            return LawResult(name, wrong is None, wrong or "")

        rule.__name__, rule.__doc__ = test.__name__, test.__doc__
        LAWS[name] = rule
        if quick:
            QUICK.append(name)
        return rule

    return register


def outputs_at(subject: Subject, module: nn.Module, batch: int) -> Any:
    """The outputs of `module` at `batch` samples as Specs, its inputs in the slot's own dtypes."""
    spec, inputs = subject.call_spec, subject.example(batch)
    args, kwargs = pytree.tree_map(
        lambda s, v: v.to(s.dtype) if isinstance(s, Spec) else v, (spec.args, spec.kwargs), (inputs.args, inputs.kwargs)
    )
    with torch.no_grad():
        return describe(subject.run(module, Call(*args, **kwargs)), look=False)


def expected(spec: CallSpec, batch: int) -> Any:
    """What the slot gives at `batch` samples."""

    def at(leaf: Any) -> Any:
        if isinstance(leaf, Batch):
            return leaf.multiple * batch
        if isinstance(leaf, Spec):
            return Spec(tuple(s.multiple * batch if isinstance(s, Batch) else s for s in leaf.shape), leaf.dtype)
        return leaf

    return pytree.tree_map(at, spec.outputs)


@law("signature", quick=True)
def signature(subject: Subject) -> str | None:
    """Shapes and dtypes are the slot's, at batch 1, 2, 3 and 7 in evaluation, 2 and 3 in training."""
    sizes = {False: (2,) if subject.quick else (1, 2, 3, 7), True: (2,) if subject.quick else (2, 3)}
    for training, batches in sizes.items():
        module = copy.deepcopy(subject.module)
        module.train(training)
        for batch in batches:
            got, wanted = outputs_at(subject, module, batch), expected(subject.call_spec, batch)
            if subject.declares("changes_shape"):
                kept = "declares changes_shape but keeps the slot's shape; drop the declaration"
                return kept if got == wanted else None
            if got != wanted:
                mode = "training" if training else "evaluation"
                texts = [show(tree, full=True) for tree in (got, wanted)]
                return f"in {mode} mode at batch {batch} gives {texts[0]} where the slot gives {texts[1]}"
    return None


@law("batch", quick=True)
def batch(subject: Subject) -> str | None:
    """f(batch) equals the stack of f(x_i), in evaluation, for 1, 2 and 7 samples; and a larger batch gives its first
    two what they get in a batch of two, in evaluation and (where that draws nothing at random) in training."""
    for fact in ("couples_samples", "stochastic_in_eval"):
        if subject.declares(fact):
            raise NotTested(f"declares {fact}, which another law tests")
    subject.need_batch()
    module = subject.fresh(False)
    with torch.no_grad():
        for size in (3,) if subject.quick else (1, 2, 7):
            call = subject.shown(False).call if subject.quick else subject.example(size, salt=size)
            whole = subject.shown(False).outputs if subject.quick else subject.run(module, call)
            for i in range(1 if subject.costly else size):
                alone = subject.outputs_of(subject.run(module, subject.sample_of(call, i)), 0)
                gap = difference(subject.outputs_of(whole, i), alone)
                if gap > BATCH_TOLERANCE[subject.native]:
                    return f"sample {i} of {size} differs by {gap:.1e} from the same sample alone (relative)"
        if subject.crowd is None or subject.costly:
            return None
        wrong = None
        for training in (True,) if subject.quick else (True, False):
            wrong = wrong or _crowd_against_two(subject, subject.crowd, training)
    return wrong


def _crowd_against_two(subject: Subject, size: int, training: bool) -> str | None:
    call = subject.example(size, salt=size)
    two = subject.sample_of(call, 0, 2)  # not one: a module may refuse to train on a single sample
    few, again = (subject.run(subject.fresh(training), two, seed) for seed in (1, 2))
    if difference(tensors(few), tensors(again)) > 0:
        return None
    whole = subject.run(subject.fresh(training), call, 1)
    for i in range(2):
        gap = difference(subject.outputs_of(whole, i), subject.outputs_of(few, i))
        if gap > BATCH_TOLERANCE[subject.native]:
            mode = "training" if training else "evaluation"
            return f"in {mode} mode, sample {i} of {size} differs by {gap:.1e} from the same in a batch of 2 (relative)"
    return None


@law("no-leak", quick=True)
def no_leak(subject: Subject) -> str | None:
    """Changing one sample moves no other's output, in training and in evaluation, nor does a gradient pass between
    them, at three samples and at a larger batch. Declared couples_samples: it must."""
    subject.need_batch()
    declared = subject.declares("couples_samples")
    crowd = None if subject.costly else subject.crowd
    sizes = [3, crowd] if crowd else [3]
    moved = None
    for size in sizes[-1:] if subject.quick and not declared else sizes:
        for training in (True,) if subject.quick and not declared else (True, False):
            moved = moved or _leak_of_values(subject, size, training)
            if not subject.quick or declared:
                moved = moved or _leak_of_gradients(subject, size, training)
    if declared:
        return None if moved else "declares couples_samples but no sample moves another; drop the declaration"
    return moved


def _leak_of_values(subject: Subject, size: int, training: bool) -> str | None:
    shared = subject.shown(training) if subject.quick and size == 3 else None
    call = shared.call if shared else subject.example(size, salt=11)
    changed = subject.replaced(call, subject.example(size, salt=12), 1)
    with torch.no_grad():
        # Two copies, so that running statistics of the first call do not show in the second.
        before = shared.outputs if shared else subject.run(subject.fresh(training), call)
        after = subject.run(subject.fresh(training), changed)
    for i in range(size):
        gap = difference(subject.outputs_of(after, i), subject.outputs_of(before, i)) if i != 1 else 0.0
        if gap > LEAK_TOLERANCE[subject.native]:
            mode = f"{'training' if training else 'evaluation'} mode at batch {size}"
            return f"in {mode}, changing sample 1 moves sample {i}'s output by {gap:.1e} (relative)"
    return None


def _leak_of_gradients(subject: Subject, size: int, training: bool) -> str | None:
    call = subject.example(size, salt=13).map(as_leaf)
    inputs = floats((call.args, call.kwargs))
    if not inputs:
        return None
    outputs = subject.run(subject.fresh(training), call)
    loss = weigh(subject, [t for i in range(size) if i != 1 for t in subject.outputs_of(outputs, i)])
    if loss is None or not loss.requires_grad:
        return None
    gradients = dict(zip(map(id, inputs), torch.autograd.grad(loss, inputs, allow_unused=True), strict=True))
    as_gradient = call.map(lambda t: torch.zeros_like(t) if gradients.get(id(t)) is None else gradients[id(t)])
    leaked = floats(batched(subject, subject.sample_of(as_gradient, 1)))
    size_of = max((float(g.abs().max()) for g in gradients.values() if g is not None and g.numel()), default=0.0)
    worst = max((float(g.abs().max()) for g in leaked if g.numel()), default=0.0)
    if worst > LEAK_TOLERANCE[subject.native] * max(size_of, 1e-6):
        mode = f"{'training' if training else 'evaluation'} mode at batch {size}"
        return f"in {mode} the gradient of samples other than 1 reaches sample 1 ({worst:.1e} against {size_of:.1e})"
    return None


@law("gradient", quick=True)
def gradient(subject: Subject) -> str | None:
    """The gradient reaches each input and each trainable parameter, is finite, and equals central differences in
    float64. Declared no_input_gradient: none may reach an input.
    Declared surrogate_gradient: it must not equal them."""
    wrong, silent = reach(subject, beside=False)
    if silent and not wrong:  # a parameter behind a gate that starts at zero: look again beside the start
        wrong, still = reach(subject, beside=True)
        silent = [name for name in silent if name in still]
    if wrong or silent:
        return wrong or f"the gradient is zero at {', '.join(silent)}"
    if subject.quick:
        return None
    return false_surrogate(subject) if subject.declares("surrogate_gradient") else finite_differences(subject)


@law("no-hidden-randomness", quick=True)
def no_hidden_randomness(subject: Subject) -> str | None:
    """The same seed gives the same module and the same outputs; a call draws from torch's default generator at most."""
    if not subject.quick and subject.build is not None:
        one, two = (subject.build(subject.seed).state_dict() for _ in range(2))
        unlike = [n for n in one if n not in two or difference(tensors(one[n]), tensors(two[n])) > 0]
        if unlike:
            return f"built twice from one seed, {', '.join(unlike)} differ: draw from the generator that is given"
    for training in (True,) if subject.quick else (True, False):
        first = subject.shown(training)
        first.module.load_state_dict(first.state)
        again = subject.watched(first.module, first.call)
        for call in (first, again):
            if call.drawn:
                return f"a call draws from {call.drawn[0]} global generator; draw from torch's default one"
        gap = difference(tensors(again.outputs), tensors(first.outputs))
        if gap > 0:
            mode = "training" if training else "evaluation"
            return f"in {mode} mode two calls from the same seed and state differ by {gap:.1e}: it has draws of its own"
    return None


@law("eval-deterministic", quick=True)
def eval_deterministic(subject: Subject) -> str | None:
    """In evaluation, outputs do not depend on the seed, to the bit. Declared stochastic_in_eval: they must."""
    module, call = subject.fresh(False), subject.shown(False).call
    with torch.no_grad():
        outputs = subject.run(module, call, 2)
    gap = difference(tensors(outputs), tensors(subject.shown(False).outputs))
    if subject.declares("stochastic_in_eval"):
        return None if gap > 0 else "declares stochastic_in_eval but evaluation is deterministic; drop the declaration"
    return f"two evaluations of the same input differ by {gap:.1e}; declare stochastic_in_eval" if gap > 0 else None


@law("state")
def state(subject: Subject) -> str | None:
    """What state_dict saves (safetensors) makes a freshly built module give identical outputs, after some training."""
    if subject.build is None:
        raise NotTested("there is no second one to load into")
    saved = subject.fresh(True)
    with torch.no_grad():
        for step in range(3):
            subject.run(saved, subject.example(3, salt=51 + step), seed=step)
    nudge(saved, subject)
    odd = [n for n, v in saved.state_dict().items() if not isinstance(v, Tensor)]
    if odd:
        return f"state_dict holds what is no tensor: {', '.join(odd)}"
    bytes_ = safetensors.torch.save({n: v.detach().clone().contiguous() for n, v in saved.state_dict().items()})
    loaded = subject.ready(subject.build(subject.seed + 1), True)
    loaded.load_state_dict(safetensors.torch.load(bytes_))
    call = subject.example(3, salt=55)
    for training in (False, True):
        with torch.no_grad():
            a = tensors(subject.run(saved.train(training), call, seed=5))
            b = tensors(subject.run(loaded.train(training), call, seed=5))
        gap = difference(b, a)
        if gap > 0:
            mode = "training" if training else "evaluation"
            return f"in {mode} mode, outputs differ by {gap:.1e} after loading; keep in buffers all that a call needs"
    return None


@law("input-kept", quick=True)
def input_kept(subject: Subject) -> str | None:
    """A call leaves its arguments as they were."""
    kept = all(subject.shown(training).kept for training in ((True,) if subject.quick else (True, False)))
    return None if kept else "a call changes its input in place; work on a copy"


@law("precision")
def precision(subject: Subject) -> str | None:
    """In evaluation, float32 lies near float64, and the dtype of the output follows that of the input."""
    if subject.declares("stochastic_in_eval"):
        raise NotTested("declares stochastic_in_eval: the draws of the two precisions differ")
    call = subject.example(7, salt=71, dtype=torch.float32)
    from_double = call.map(lambda t: t.double() if t.is_floating_point() else _wide(t))
    with torch.no_grad():
        # A slot in single precision is taken as it is: a component may keep a constant in double on purpose.
        dtype = None if subject.native == torch.float32 else torch.float32
        single = floats(subject.run(subject.fresh(False, dtype), call))
        double = floats(subject.run(subject.fresh(False, torch.float64), from_double))
    if any(t.dtype in (torch.float32, torch.complex64) for t in double):
        return "given float64 (weights and inputs) it gives float32; let the dtype follow the input"
    gap = difference(single, double)
    return f"float32 differs from float64 by {gap:.1e} (relative)" if gap > PRECISION_TOLERANCE else None


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128) if tensor.is_complex() else tensor


@law("linear")
def linear(subject: Subject) -> str | None:
    """Declared linear: additive and homogeneous after f(0) is taken off, in evaluation and float64."""
    if not subject.declares("linear"):
        raise NotTested("not declared")
    module = subject.fresh(False, torch.float64)
    x, y = (subject.example(3, salt=s, dtype=torch.float64) for s in (81, 82))
    pairs = list(zip(x.tensors(), y.tensors(), strict=True))

    def at(a: float, b: float) -> list[Tensor]:
        mixed = iter([a * s + b * t if s.is_floating_point() or s.is_complex() else s for s, t in pairs])
        with torch.no_grad():
            return floats(subject.run(module, x.map(lambda _: next(mixed))))

    zero = at(0.0, 0.0)
    fx, fy, mixed = (
        [v - z for v, z in zip(at(*ab), zero, strict=True)] for ab in ((1.0, 0.0), (0.0, 1.0), (1.7, -0.6))
    )
    gap = difference(mixed, [1.7 * a - 0.6 * b for a, b in zip(fx, fy, strict=True)])
    if gap > FACT_TOLERANCE:
        return f"declares linear but f(ax + by) differs from a f(x) + b f(y) by {gap:.1e} (relative)"
    return None


@law("unitary")
def unitary(subject: Subject) -> str | None:
    """Declared unitary: each sample's Euclidean norm is kept, in evaluation and float64."""
    if not subject.declares("unitary"):
        raise NotTested("not declared")
    subject.need_batch()
    call = subject.example(3, salt=91, dtype=torch.float64)
    with torch.no_grad():
        outputs = subject.run(subject.fresh(False, torch.float64), call)
    for i in range(3):
        inside = floats(batched(subject, subject.sample_of(call, i)))
        outside = floats(subject.outputs_of(outputs, i))
        before, after = (sum(float(t.abs().square().sum()) for t in side) for side in (inside, outside))
        if abs(after - before) > 2 * FACT_TOLERANCE * max(before, 1e-12):
            return f"declares unitary but the squared norm of sample {i} goes from {before:.6g} to {after:.6g}"
    return None

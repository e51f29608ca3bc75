"""Fill slots of a host: replace, wrap, insert, group, mix. Every refusal of a request comes at once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ._attention import keep_plain
from ._attributes import WeightsGone, answer
from ._build import copy_of, make, misfit, option_problems, takes
from ._fit import refuse_too_large
from ._place import DopantWarning as DopantWarning
from ._place import Inserted as Inserted
from ._place import Mixed as Mixed
from ._place import place, put, warn_of_read, warn_of_untied
from ._request import Request, overlaps, read
from ._signature import READ
from ._slots import LARGE, SMALL, Signature, evaluation_error, measure_all, merge, show, sizes
from .errors import ComponentRefused, ConfigError, DoesNotFit, DopantError, Problems, SlotMismatch
from .laws import judge
from .laws.rules import expected, outputs_at
from .laws.subject import Subject
from .memory import Guard
from .registry import ComponentInfo
from .streams import Streams


def _expect(model: Any, swaps: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"the model is a {type(model).__name__}; give a torch.nn.Module, such as Net() or dp.host('mlp')"
        )
    if not isinstance(swaps, Mapping):
        raise ConfigError(f"swaps are {swaps!r}; give a dict, such as {{'fc': 'reupload-linear'}}")


def swap(model: nn.Module, swaps: Mapping[str, Any], sample: Any, seed: int = 0) -> nn.Module:
    """A copy of `model` with some slots filled differently; the model itself is untouched.

    swaps: {slot: "component"} or {slot: {"component": name, "mix": d, option: value, …}}; the slots of a group are
    joined by '+'. Mixing d gives (1 - d) * old(x) + d * new(x); 0 leaves the old module itself in place.
    sample: what the model takes, as for `slots`. Every weight outside the filled slots is bit-identical; a component
    is built from the stream `slot:NAME` of `seed`. A module registered under several names is replaced under all.
    Raises, for all problems of the request at once: UnknownName, ConfigError (options, mix, doubled or nested slots),
    SlotMismatch (shape, dtype, a slot that is not called in both modes), ComponentRefused (a law, named in `.law`).
    Warns (DopantWarning) where a weight was tied to another module and no longer is. Cost: some copies of the model
    and some twenty calls of each component at two or three samples.
    """
    _expect(model, swaps)
    return fill(model, swaps, sample, Streams(seed), laws=True)


def fill(model: nn.Module, swaps: Mapping[str, Any], sample: Any, streams: Streams, *, laws: bool) -> nn.Module:
    """`swap` with given streams; `laws`: whether the quick laws are run (workers leave out what the plan has tested).

    A table may hold `of`: the swap for which this component, a control, stands in. It is built first, from the same
    stream, and handed to a factory that has the parameter `target`; without `of` that gets the old module.
    """
    if not swaps:
        return keep_plain(copy_of(model, lambda reason: ConfigError(f"the host cannot be copied: {reason}")))
    filled, errors = attempt(model, swaps, sample, streams, measure_all(model, sample), laws=laws)
    if filled is None or errors:
        raise together(errors)
    return filled


def check_swaps(model: nn.Module, cells: Sequence[Mapping[str, Any]], sample: Any, streams: Streams) -> list[str]:
    """Every problem of several cells (the swaps of each) at once, laws included; nothing is raised."""
    try:
        before = measure_all(model, sample)
    except DopantError as error:
        return lines(error)
    found: list[str] = []
    tested: set[str] = set()
    for swaps in cells:
        if swaps:
            for error in attempt(model, swaps, sample, streams, before, laws=True, tested=tested)[1]:
                found += lines(error)
    return list(dict.fromkeys(found))


def why_not(info: ComponentInfo, old: nn.Module, signature: Signature) -> str | None:
    """Why the component, with its default options, does not fit a slot; None if it does. The laws are not asked.

    A group's component is not asked for more than its slot's usability: what fits depends on the other slots.
    """
    name = signature.names[0] if signature.names else signature.module
    unusable = _usable(name, signature)
    if unusable is not None:
        return str(unusable)
    if info.mode == "group":
        return "it fills a group of slots, joined by '+'"
    reason = misfit(info, old, signature)
    if reason or option_problems(info, {}):  # what needs an option cannot be tried further
        return reason
    mine = copy.deepcopy(old)
    try:
        refuse_too_large(info, old, signature, {}, name, old)
        built = make(info, mine, signature, {}, Streams(), name, copy.deepcopy(old))
        wrong = _alone(name, info, place(info, mine, built, 1), signature)
    except DopantError as error:
        return str(error)
    return "; ".join(wrong) or None


def slot_problem(name: str, signature: Signature) -> str | None:
    """Why a slot cannot be filled, whatever with; None if it can."""
    problem = _usable(name, signature)
    return None if problem is None else str(problem)


def lines(error: Exception) -> list[str]:
    return error.problems if isinstance(error, Problems) else [str(error)]


def together(errors: Sequence[DopantError]) -> DopantError:
    """One exception for all: itself if it is alone, the common class with every line if they share one.

    Else the class of what has to be put right first: the request (ConfigError), then the fit (SlotMismatch).
    """
    if len(errors) == 1:
        return errors[0]
    every = list(dict.fromkeys(line for error in errors for line in lines(error)))
    if all(isinstance(error, DoesNotFit) for error in errors):
        largest = max(errors, key=lambda error: getattr(error, "needed", None) or 0)
        return DoesNotFit("\n".join(every), needed=largest.needed, available=largest.available)  # type: ignore
    if all(isinstance(error, ComponentRefused) for error in errors):
        return ComponentRefused(every, getattr(errors[0], "law", None))
    if all(isinstance(error, (SlotMismatch, ComponentRefused)) for error in errors):
        return SlotMismatch(every)
    return ConfigError(every)


def attempt(
    model: nn.Module,
    swaps: Mapping[str, Any],
    sample: Any,
    streams: Streams,
    before: dict[str, Signature],
    *,
    laws: bool,
    tested: set[str] | None = None,
) -> tuple[nn.Module | None, list[DopantError]]:
    """(the filled copy, every problem). before: what `measure_all` said of the model.

    tested: swaps whose laws an earlier cell has tested, which are left out here; this one's are added.
    """
    host = copy_of(model, lambda reason: ConfigError(f"the host cannot be copied: {reason}"))
    modules = dict(host.named_modules(remove_duplicate=False))
    errors: list[DopantError] = []
    requests: list[Request] = []
    for slot, value in swaps.items():
        request = read(slot, value, modules, errors)
        if request is not None:
            requests.append(request)
    errors += overlaps(requests)
    for request in requests:
        with_slot = [_usable(name, before[name]) for name in request.names]
        problems = [p for p in with_slot if p is not None]
        errors += problems
        if not problems:
            text = f"{request.slot}={swaps[request.slot]!r}"
            new = laws and (tested is None or text not in tested)
            if tested is not None:
                tested.add(text)
            # what is too large is refused before it is made; a worker's memory was looked at before it started
            guard = Guard(f"slot {request.slot!r}: {request.info.name!r}") if laws else contextlib.nullcontext()
            try:
                with guard:
                    _build(request, before, streams, new, errors, sizes=laws)
            except DopantError as error:
                errors.append(error)
    if errors:
        return None, errors
    for request in requests:
        for name in request.names:
            put(modules, request.old[name], request.new[name])
            if request.mix > 0:
                changes = bool(request.info.facts.get("changes_shape"))
                answer(request.new[name], request.old[name], name, sizes=not changes)
    keep_plain(host)
    for request in requests:
        for name in request.names:
            warn_of_untied(host, name, request.old[name], request.new[name])
    errors += _try_whole(host, model, requests, before, sample, streams, laws)
    return host, errors


def _usable(name: str, signature: Signature) -> DopantError | None:
    """Why a slot cannot be filled, whatever with."""
    if signature.problem:
        return SlotMismatch(f"slot {name!r} cannot be filled: {signature.problem}")
    called = {"training": signature.trained, "evaluation": signature.evaluated}
    never = [mode for mode, count in called.items() if not count]
    if never and signature.read:
        return SlotMismatch(
            f"slot {name!r} is never called in {' or '.join(never)}: {READ} ({', '.join(signature.read)}), so a"
            " replacement would change nothing there; choose another slot, or the module around it"
        )
    if never:
        return SlotMismatch(
            f"slot {name!r} is never called in {' or '.join(never)}, so a replacement would change nothing there (the"
            " host may use its weights directly); choose another slot, or the module around it"
        )
    return None


def _build(
    request: Request, before: dict[str, Signature], streams: Streams, laws: bool, errors: list[DopantError], sizes: bool
) -> None:
    """Build the component, put it together with the old module, and try it alone. Raises or adds to `errors`."""
    info, slot, group = request.info, request.slot, request.info.mode == "group"
    signatures = {name: before[name] for name in request.names}
    old: Any = request.old if group else request.old[slot]
    signature: Any = signatures if group else signatures[slot]
    reason = misfit(info, old, signature)
    if reason:
        raise SlotMismatch(f"slot {slot!r}: {info.name!r} does not fit: {reason}")
    target = None
    if takes(info, "target"):
        target = old
        if request.target is not None:
            of, of_options = request.target
            reason = misfit(of, old, signature)
            if reason:
                raise SlotMismatch(f"slot {slot!r}: {of.name!r}, which {info.name!r} controls, does not fit: {reason}")
            if sizes:
                refuse_too_large(of, old, signature, of_options, slot, old)
            target = make(of, copy.deepcopy(old), signature, of_options, streams, slot, old)
            if of.mode == "insert":  # what stands in the slot is the old module with the component after it
                target = place(of, copy.deepcopy(old), target, 1)
    request.held = old if info.mode == "wrap" else target
    # A factory may take its module apart; where the old one stays beside the new, it works on a copy. A wrapper holds
    # the old module itself: its weights are the slot's, not a second set.
    given = copy.deepcopy(old) if request.mix < 1 and info.mode in ("replace", "group") else old
    if sizes:
        refuse_too_large(info, old, signature, request.options, slot, target)
    request.built = make(info, given, signature, request.options, streams, slot, target)
    device = next((p.device for p in nn.ModuleList(request.old.values()).parameters()), None)
    for name in request.names:
        new = request.built[name] if group else request.built
        if device is not None:
            new.to(device)
        request.new[name] = place(info, request.old[name], new, request.mix)
    if info.facts.get("changes_shape"):
        return  # only the whole host can tell
    wrong: list[str] = []
    for name in request.names:
        new = request.built[name] if group else request.built
        wrong += _alone(name, info, place(info, request.old[name], new, 1), before[name])
    if wrong:
        raise SlotMismatch(wrong)
    if laws:
        errors += _quick_laws(request, signatures, streams, None)


def _alone(name: str, info: ComponentInfo, module: nn.Module, signature: Signature) -> list[str]:
    """What is wrong with the shapes and dtypes of a new module called by itself, in both modes."""
    module = copy_of(
        module, lambda reason: ComponentRefused(f"slot {name!r}: {info.name!r} cannot be copied: {reason}", "signature")
    )
    for spec in signature.distinct:
        subject = Subject(module, spec)
        for training in (False, True):
            module.train(training)
            try:
                got = {batch: outputs_at(subject, module, batch) for batch in (SMALL, LARGE)}
            except DoesNotFit:
                raise
            except Exception as error:
                taken = show(spec.args[0] if len(spec.args) == 1 else spec.args)
                return [f"slot {name!r} takes {taken} but {info.name!r} fails on it: {_short(error)}"]
            if any(got[batch] != expected(spec, batch) for batch in got):
                merged, _ = merge(got[SMALL], got[LARGE])
                full = sizes(merged) == sizes(spec.outputs)  # then it is the dtype, or the batch axis
                gives, wanted = show(merged, full=full), show(spec.outputs, full=full)
                return [f"slot {name!r} gives {wanted} but {info.name!r} gives {gives}"]
    return []


def _short(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _quick_laws(
    request: Request, signatures: dict[str, Signature], streams: Streams, inside: dict[str, Signature] | None
) -> list[DopantError]:
    """At most one ComponentRefused, with a line for each law that is broken."""
    info = request.info
    signature: Any = signatures if info.mode == "group" else signatures[request.slot]
    seed = streams.key(f"laws:{request.slot}")
    fitted = inside is None  # then each part has been called alone
    results = judge(
        info, request.built, signature, held=request.held, quick=True, fitted=fitted, seed=seed, inside=inside
    )
    broken = [result for result in results if not result.passed]
    if not broken:
        return []
    texts = [f"slot {request.slot!r}: {info.name!r} breaks the law {r.law!r}: {r.message}" for r in broken]
    return [ComponentRefused(texts, broken[0].law)]


def _try_whole(
    host: nn.Module,
    model: nn.Module,
    requests: list[Request],
    before: dict[str, Signature],
    sample: Any,
    streams: Streams,
    laws: bool,
) -> list[DopantError]:
    """What is wrong once everything is in place: the host fails, gives something else, or bypasses a new module.

    model: the host as it was.
    """
    try:
        after = measure_all(host, sample)
    except DopantError as error:
        what = ", ".join(f"{r.info.name!r} in {r.slot!r}" for r in requests)
        reason = error.__cause__
        text = _short(reason) if isinstance(reason, Exception) else str(error)
        return [SlotMismatch(f"the host fails with {what}: {text}{_reads_weights(requests, before, reason)}")]
    reason = evaluation_error(host, sample)
    if reason is not None and evaluation_error(model, sample) is None:
        what = ", ".join(f"{r.info.name!r} in {r.slot!r}" for r in requests)
        text = f"{_short(reason)}{_reads_weights(requests, before, reason)}"
        return [SlotMismatch(f"the host fails in evaluation without gradients with {what}: {text}")]
    errors: list[DopantError] = []
    was, now = ([c.outputs for c in found[""].calls] for found in (before, after))
    if was != now and not before[""].problem:
        full = sizes(was) == sizes(now)
        names = ", ".join(repr(r.slot) for r in requests)
        errors.append(
            SlotMismatch(
                f"with {names} filled the host gives {show(now[0], full=full)} instead of {show(was[0], full=full)}"
            )
        )
    for request in requests:
        for name in request.names:
            problem = _usable(name, after[name]) if request.mix > 0 else None
            if problem is not None:
                errors.append(SlotMismatch(f"{request.info.name!r}: {problem}"))
            elif request.mix > 0:
                warn_of_read(name, request.info.name, before[name], after[name])
        if laws and not errors and request.info.facts.get("changes_shape"):
            errors += _quick_laws(request, {n: before[n] for n in request.names}, streams, after)
    return errors


def _reads_weights(requests: list[Request], before: dict[str, Signature], error: BaseException | None) -> str:
    """What to add to a host's error where it looks for tensors of a module that was replaced; else nothing."""
    found = []
    for request in requests:
        for name in request.names if request.mix > 0 else ():
            old = request.old[name]
            asked = isinstance(error, AttributeError) and any(f"{t!r}" in str(error) for t in _tensor_names(old))
            if before[name].read or asked or isinstance(error, WeightsGone):
                tensors = f" ({', '.join(before[name].read)})" if before[name].read else ""
                found.append(f"; slot {name!r}: {READ}{tensors} in one place at least")
    return "".join(found) + ("; choose another slot, or the module around it" if found else "")


def _tensor_names(module: nn.Module) -> list[str]:
    return [*module._parameters, *module._buffers, *getattr(module, "parametrizations", ())]

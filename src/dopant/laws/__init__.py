"""What every component must obey, in one place: `dopant.swap` runs the quick laws, `dopant check` and the tests all.

The laws are in `rules.py`, one function each, and the one that takes a clock in `work.py`; `probes.py` has the small
hosts on which a component is checked that has no host yet.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .._build import make, takes
from .._place import after
from .._slots import CallSpec, Signature, show
from ..registry import ComponentInfo
from ..streams import Streams
from . import kernels as kernels
from . import work as work
from .probes import check as check
from .probes import check_in as check_in
from .rules import LAWS as LAWS
from .rules import QUICK as QUICK
from .rules import LawResult as LawResult
from .subject import Subject as Subject


def run_laws(
    component: ComponentInfo | Callable,
    old: Any,
    signature: Any,
    *,
    quick: bool = False,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    inside: dict[str, Signature] | None = None,
) -> list[LawResult]:
    """Every law (or the quick ones) on what the component builds for a slot: one result a law and call shape.

    component: a registered one, or a bare factory. old, signature: the module there and its Signature; of a group,
    dicts by slot, and `inside` the signatures its modules have in the filled host, where they change shapes between
    them. Raises what building raises (ConfigError, SlotMismatch). Cost: some hundred calls at up to seven samples.
    """
    info = component if isinstance(component, ComponentInfo) else ComponentInfo(component.__name__, component)
    slot = "+".join(old) if isinstance(old, dict) else (signature.names[0] if signature.names else "slot")

    def build(number: int) -> Any:
        mine = copy.deepcopy(old)
        return make(info, mine, signature, options or {}, Streams(number), slot, copy.deepcopy(old))

    held = old if info.mode == "wrap" or takes(info, "target") else None
    return judge(info, build(seed), signature, held=held, quick=quick, seed=seed, build=build, inside=inside)


def judge(
    info: ComponentInfo,
    built: Any,
    signature: Any,
    *,
    held: Any = None,
    quick: bool = False,
    fitted: bool = False,
    seed: int = 0,
    build: Callable[[int], Any] | None = None,
    inside: dict[str, Signature] | None = None,
) -> list[LawResult]:
    """The laws on what a factory has built; see `run_laws`. `built` is copied, never called.

    held: the module that a wrapper wraps or a control stands in for: it answers for itself, not for a law that this
    one breaks too. fitted: its shapes are known to be the slot's, so the law `signature` is left out.
    """
    if info.mode != "group":
        place = after(signature) if info.mode == "insert" else signature
        return _laws_on(built, place, info.facts, build, seed, quick, held, fitted)
    results = []
    facts = {k: v for k, v in info.facts.items() if k != "changes_shape"}
    for name, module in built.items():
        part = (lambda number, name=name: build(number)[name]) if build is not None else None
        mine = held[name] if held is not None else None
        results += _laws_on(module, (inside or signature)[name], facts, part, seed, quick, mine, fitted)
    if info.facts.get("changes_shape"):
        kept = inside is not None and all(inside[n].calls == signature[n].calls for n in built)
        wrong = (
            "declares changes_shape but every slot of the group keeps its shape; drop the declaration" if kept else ""
        )
        results.append(LawResult("signature", not kept, wrong, "+".join(built)))
    return results


def _laws_on(
    module: nn.Module,
    signature: Signature,
    facts: dict[str, Any],
    build: Any,
    seed: int,
    quick: bool,
    held: Any,
    fitted: bool,
) -> list[LawResult]:
    """The laws on one module, for each distinct call shape of its slot."""
    results: list[LawResult] = []
    where = signature.names[0] if signature.names else ""
    for spec in signature.distinct:
        subject = Subject(module, spec, dict(facts), build, seed, quick)
        if fitted:
            subject.out_specs = spec.outputs
        failure = None if fitted else _cannot_run(subject, spec)
        if failure:
            results.append(LawResult("signature", False, failure, where))
            continue
        for name in QUICK if quick else LAWS:
            if fitted and name == "signature":
                continue
            result = LAWS[name](subject)
            if not result.passed and held is not None:
                alone = LAWS[name](Subject(held, spec, {}, lambda _: copy.deepcopy(held), seed, quick))
                if not alone.passed:
                    result = LawResult(name, True, f"not tested: the module in it breaks it too ({alone.message})")
            results.append(replace(result, where=where))
    return results


def _cannot_run(subject: Subject, spec: CallSpec) -> str | None:
    try:
        with torch.no_grad():
            subject.run(subject.fresh(False), subject.example(2))
    except Exception as error:
        return f"fails on {show(spec.args)}: {type(error).__name__}: {error}"
    return None

"""Small hosts with one of each common slot, on which a component is checked that has no host yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .._build import misfit, option_problems
from .._slots import Call, Signature, as_call, measure_all
from ..errors import DopantError, Problems, SlotMismatch
from ..registry import ComponentInfo
from ..streams import default_generators
from .rules import LawResult

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Recurrent(nn.Module):
    """An LSTM over (batch, time, feature), read at its last step."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class _Attentive(nn.Module):
    """Tokens -> embedding -> self-attention -> layer norm -> linear on each token."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.mlp(self.norm(x))


class _Sets(nn.Module):
    """Sets of vectors, some of them padding -> one vector a set, and the same of another set without padding."""

    class Pool(nn.Module):
        """The mean over the set, (batch, set, features) -> (batch, features)."""

        def forward(self, x: torch.Tensor, key_padding_mask: torch.Tensor | None = None) -> torch.Tensor:
            if key_padding_mask is not None:
                x = x.masked_fill(key_padding_mask[:, :, None], 0.0)
            return x.mean(1)

    def __init__(self):
        super().__init__()
        self.masked, self.pool, self.head = self.Pool(), self.Pool(), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = torch.arange(x.shape[1], device=x.device) >= 2 + (x[:, :1, 0] > 0).long()
        return self.head(torch.cat([self.masked(x, key_padding_mask=padding), self.pool(x)], dim=1))


def _kernel_machine() -> tuple[nn.Module, Any]:
    from ..hosts.kernel_machine import kernel_machine  # hosts are built on the laws' neighbours

    return kernel_machine(in_features=3, classes=2), torch.randn(4, 3)


def _images(*layers: nn.Module, channels: int = 3, size: int = 8) -> Callable[[], tuple[nn.Module, Any]]:
    return lambda: (nn.Sequential(*layers), torch.randn(4, channels, size, size))


def _vectors(*layers: nn.Module, features: int) -> Callable[[], tuple[nn.Module, Any]]:
    return lambda: (nn.Sequential(*layers), torch.randn(4, features))


def _tokens() -> tuple[nn.Module, Any]:
    return _Attentive(), torch.randint(0, 11, (4, 6))


@dataclass(frozen=True)
class Probe:
    """A host with a sample, made under a fixed seed, and the slots to fill in it; a group is joined by '+'."""

    name: str
    make: Callable[[], tuple[nn.Module, Any]]
    slots: tuple[str, ...]


PROBES = (
    Probe("linear 6 to 4", lambda: _vectors(nn.Linear(6, 4), features=6)(), ("0",)),
    Probe("linear 16 to 10", lambda: _vectors(nn.Linear(16, 10), features=16)(), ("0",)),
    Probe("linear 30 to 30 without bias", lambda: _vectors(nn.Linear(30, 30, bias=False), features=30)(), ("0",)),
    Probe("convolution 3x3", lambda: _images(nn.Conv2d(3, 4, 3))(), ("0",)),
    Probe("convolution 3x3, stride 2, padding 1", lambda: _images(nn.Conv2d(3, 2, 3, 2, 1))(), ("0",)),
    Probe("convolution 1x1", lambda: _images(nn.Conv2d(3, 5, 1))(), ("0",)),
    Probe("convolution 3x3, 4 to 6 channels", lambda: _images(nn.Conv2d(4, 6, 3), channels=4)(), ("0",)),
    Probe("convolution 4x4 without bias", lambda: _images(nn.Conv2d(2, 3, 4, bias=False), channels=2)(), ("0",)),
    Probe(
        "a small CNN",
        lambda: _images(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3),
        )(),
        ("1", "2", "3", "4", "5", "6", "8", "9", "7+10", "0+1"),
    ),
    Probe(
        "signals (batch, channels, time)",
        lambda: (
            nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1)),
            torch.randn(4, 4, 8),
        ),
        ("0", "1", "2", "3"),
    ),
    Probe("sets of vectors with padding", lambda: (_Sets(), torch.randn(4, 6, 5)), ("masked", "pool")),
    Probe("an LSTM", lambda: (_Recurrent(), torch.randn(4, 7, 5)), ("lstm", "lstm+head")),
    Probe("attention", _tokens, ("embedding", "attention", "norm", "mlp", "mlp.0", "mlp.1", "mlp.0+mlp.2")),
    Probe("a kernel machine", _kernel_machine, ("kernel",)),
)  # fmt: skip


@cache
def _measured(number: int) -> tuple[nn.Module, Call, dict[str, Signature]]:
    with default_generators(number):
        host, sample = PROBES[number].make()
    return host, as_call(sample), measure_all(host, sample)


def places(info: ComponentInfo) -> Iterator[tuple[str, str, Any, Any, int, list[str]]]:
    """(probe, slot, old, signature, number of the probe, why it does not fit: empty if it does) for each slot."""
    for number, probe in enumerate(PROBES):
        for slot in probe.slots:
            names = slot.split("+")
            if (len(names) > 1) != (info.mode == "group"):
                continue
            host, _, signatures = _measured(number)
            old: Any = {n: host.get_submodule(n) for n in names}
            signature: Any = {n: signatures[n] for n in names}
            if info.mode != "group":
                old, signature = old[slot], signature[slot]
            reason = misfit(info, old, signature)
            yield probe.name, slot, old, signature, number, [reason] if reason else []


def check_in(
    info: ComponentInfo, host: nn.Module, sample: Any, slot: str, *, seed: int = 0, place: str = ""
) -> list[LawResult]:
    """Every law on the component in one slot of a host (of a group, joined by '+'), with its examples of options.

    What keeps it from being put there, or the whole host from running with it, is a failed result of the law `fits`.
    place: what the results say of where they were found.
    """
    from . import run_laws  # the package's front imports this file

    results: list[LawResult] = []
    for options in info.examples or ({},):
        where = f"{place or 'slot ' + slot}" + (f", {options}" if options else "")
        try:
            inside = _signatures_inside(info, host, sample, slot, options, seed)
            signatures = measure_all(host, sample)
            old: Any = {n: host.get_submodule(n) for n in slot.split("+")}
            signature: Any = {n: signatures[n] for n in old}
            if info.mode != "group":
                old, signature, inside = old[slot], signature[slot], None
            found = run_laws(info, old, signature, seed=seed, options=options, inside=inside)
        except Problems as error:
            found = [LawResult("fits", False, problem) for problem in error.problems]
        except DopantError as error:
            found = [LawResult("fits", False, str(error))]
        results += [LawResult(r.law, r.passed, r.message, where) for r in found]
    return results


def may_fill(info: ComponentInfo, class_name: str) -> bool:
    """Whether the component fills one of the probes' slots of this class; True where no probe has such a slot."""
    if info.mode == "group":
        return True
    reasons = [
        wrong
        for _, _, old, _, _, wrong in places(info)
        if class_name in [base.__name__ for base in type(old).__mro__[:-1]]
    ]
    return not reasons or not all(reasons)


def filled_classes(info: ComponentInfo) -> list[str]:
    """torch's classes among the probes' slots that the component fills, sorted; of a group those of its members."""
    modules = [
        module
        for _, _, old, _, _, wrong in places(info)
        if not wrong
        for module in (old.values() if info.mode == "group" else (old,))
    ]
    return sorted({type(m).__name__ for m in modules if type(m).__module__.startswith("torch.nn.")})


def check(info: ComponentInfo, *, quick: bool = False, seed: int = 0) -> list[LawResult]:
    """Every law on the component, in each slot of the probes that it fills, with its examples of options.

    Options are the defaults, and each of `info.examples`. One result a law, slot and example; a component that cannot
    be built, or fits nothing here, is a failed result of the law `fits` that says why.
    """
    from . import run_laws  # the package's front imports this file

    results: list[LawResult] = []
    examples = info.examples or ({},)
    fitted: set[int] = set()
    reasons: list[str] = []
    for probe, slot, old, signature, number, misfits in places(info):
        if misfits:
            reasons += misfits
            continue
        for index, options in enumerate(examples):
            wrong = option_problems(info, options)
            if wrong:
                return [LawResult("fits", False, "; ".join(wrong) + "; declare examples=({...},) with the options")]
            where = f"{probe}, slot {slot}" + (f", {options}" if options else "")
            try:
                inside = _inside(info, number, slot, options, seed) if info.mode == "group" else None
                found = run_laws(info, old, signature, quick=quick, seed=seed, options=options, inside=inside)
            except SlotMismatch as error:
                reasons += error.problems
                continue
            except DopantError as error:
                found = [LawResult("fits", False, str(error))]
            fitted.add(index)
            results += [LawResult(r.law, r.passed, r.message, where) for r in found]
    for index, options in enumerate(examples):
        if index not in fitted:
            why = "; ".join(dict.fromkeys(reasons)) or "no slot of its kind"
            with_options = f" with {options}" if options else ""
            results.append(LawResult("fits", False, f"it fits no slot of the built-in probes{with_options}: {why}"))
    return results


def _inside(info: ComponentInfo, number: int, slot: str, options: dict[str, Any], seed: int) -> dict[str, Signature]:
    host, sample, _ = _measured(number)
    return _signatures_inside(info, host, sample, slot, options, seed)


def _signatures_inside(
    info: ComponentInfo, host: nn.Module, sample: Any, slot: str, options: dict[str, Any], seed: int
) -> dict[str, Signature]:
    """Signatures of the slots in the host that the component fills. Raises what keeps it from filling them."""
    from .._swap import fill  # swapping runs the laws
    from ..streams import Streams

    filled = fill(host, {slot: {"component": info, **options}}, sample, Streams(seed), laws=False)
    signatures = measure_all(filled, sample)
    return {name: signatures[name] for name in slot.split("+")}

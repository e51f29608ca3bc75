"""What can go wrong, and what to do about it: each docstring is the remedy.

Everything here is the request's fault or the world's, never a bug of ours; the command line prints the message
without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class DopantWarning(UserWarning):
    """Something that works and is probably not what was meant."""


class DopantError(Exception):
    """Something in the request or its surroundings is wrong; the message says what, and what to try."""

    exit_code = 2


class Problems(DopantError):
    """Several things are wrong at once; `problems` lists them all, one line each."""

    def __init__(self, problems: str | Sequence[str]):
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ConfigError(Problems):
    """Correct the named keys of the study file, the `--set` or the keyword; the nearest known names are given."""


class SlotMismatch(Problems):
    """Choose a component, or options of it, whose inputs and outputs equal the slot's signature."""


class NotDefined(SlotMismatch):
    """This control means nothing for this component, for the reason given; the others of docs/controls.md stand."""


class ComponentRefused(Problems):
    """Mend the component so that it obeys the law named in `.law`, or declare the fact that excuses it."""

    def __init__(self, problems: str | Sequence[str], law: str | None = None):
        super().__init__(problems)
        self.law = law


class UnknownName(DopantError):
    """Use one of `.suggestions`, or load the file that registers the name with `--with FILE.py`."""

    def __init__(self, kind: str, name: str, known: Iterable[str], note: str = ""):
        self.kind, self.name = kind, name
        known = list(known)
        self.suggestions = nearest(name, known)
        known = sorted(known)
        tail = hint(self.suggestions)
        if not tail and known:
            tail = f"; known: {', '.join(known[:10])}" + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        if not self.suggestions and kind in ("component", "host", "data set", "task"):
            tail += "; one in a file of your own is loaded with --with FILE.py"
        super().__init__(f"unknown {kind} {name!r}{tail}{note}")


class DataMissing(DopantError):
    """Point the environment variable DOPANT_DATA at a folder that has the file, or go online for the download."""


class TrialFailed(DopantError):
    """Look at the reason; a loss that is not finite wants a smaller learning rate or clipping."""

    exit_code = 3

    def __init__(self, reason: str, detail: str = ""):
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class StoreError(DopantError):
    """Free space, make the folder writable, or name another folder; finished work is intact."""


class LeaseLost(StoreError):
    """Another worker holds this trial now; nothing to do, its result counts once."""


class DoesNotFit(DopantError):
    """Take fewer qubits, a smaller batch or fewer workers; the message says the largest that fits.

    needed, available: bytes, where they are known.
    """

    def __init__(self, message: str, *, needed: int | None = None, available: int | None = None):
        self.needed, self.available = needed, available
        super().__init__(message)


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The known names most like `name`, best first (case and -/_ are ignored)."""
    plain = {k.lower().replace("_", "-"): k for k in sorted(known)}
    found = difflib.get_close_matches(name.lower().replace("_", "-"), plain, n=n, cutoff=0.5)
    return [plain[f] for f in found]


def hint(suggestions: Sequence[str]) -> str:
    """`; did you mean 'a' or 'b'?`, or nothing."""
    return f"; did you mean {' or '.join(repr(s) for s in suggestions)}?" if suggestions else ""

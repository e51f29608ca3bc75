"""Names of every kind: components, hosts, data sets, tasks, rules, losses, optimizers, schedules, metrics, papers.

One registration in one file is all it takes. Built-in files are found by walking their package, installed plug-ins by
the entry-point group `dopant.plugins`, a user's own files by `load_file` (`--with FILE.py`), see `_loading.py`. Nothing
depends on an import that somebody must remember.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from . import _loading
from ._loading import being_loaded as being_loaded
from ._loading import load_file as load_file
from ._loading import load_plugins as load_plugins
from ._loading import origin_of as origin_of
from ._options import PASSED as PASSED
from ._options import Option, options_of
from ._options import check_options as check_options
from .errors import ConfigError, UnknownName, nearest

T = TypeVar("T")

CONTROL_KINDS = ("same class", "surrogate", "same capacity", "ablation", "same simulation budget")
MODES = ("replace", "wrap", "insert", "group")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"

_walks = 0  # walks under way: plug-ins wait for their end


class Registry(Generic[T]):
    """Names of one kind. `package` is walked at the first look-up, so a new file registers by being there."""

    def __init__(self, kind: str, package: str | None = None):
        self.kind, self.package = kind, package
        self._items: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._walked = False

    def add(self, name: str, value: T, origin: str) -> T:
        """Register `value`; the same name from another place, or twice in one file, is refused, naming both."""
        if not _loading.is_ours():
            self._walk()  # so that a clash with a built-in name is told to whoever brings the new one
        if name in self._items and self._origins[name] != origin:
            raise ConfigError(
                f"two {self.kind}s are named {name!r}: {self._origins[name]} and {origin}; rename one of them"
                + (", or uninstall the package" if {self._origins[name], origin} & set(_loading.sources) else "")
            )
        if _loading.within_one_load(self, name):
            raise ConfigError(f"two {self.kind}s of {origin} are named {name!r}; rename one of them")
        self._items[name], self._origins[name] = value, origin
        _loading.note(self, name)
        return value

    def forget(self, name: str) -> None:
        """Take a name back."""
        self._items.pop(name, None)
        self._origins.pop(name, None)

    def get(self, name: str) -> T:
        """The value named `name`; UnknownName with the nearest names, and what plug-ins were left out, otherwise."""
        self._load()
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items, "".join(f"; {b}, and may have it" for b in _loading.broken))
        return self._items[name]

    def names(self) -> list[str]:
        self._load()
        return sorted(self._items)

    def origin(self, name: str) -> str:
        self.get(name)
        return self._origins[name]

    def origins(self) -> set[str]:
        """Every place that something was registered from."""
        self._load()
        return set(self._origins.values())

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def __iter__(self) -> Iterator[T]:
        self._load()
        return iter([self._items[n] for n in sorted(self._items)])

    def _load(self) -> None:
        self._walk()
        if not _walks:
            load_plugins()

    def _walk(self) -> None:
        global _walks
        if self._walked or not self.package:
            return
        self._walked = True  # first, since the files walked may look up names themselves
        _walks += 1
        try:
            walk(self.package)
        except BaseException:
            self._walked = False
            raise
        finally:
            _walks -= 1


def walk(package: str) -> None:
    """Import every module below `package`."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, prefix=package + "."):
        importlib.import_module(module.name)


_allowed: set[str] = set()


def allow(reference: str) -> None:
    """Let this process resolve `reference`: it came from the command line or from Python, not from a file."""
    _allowed.add(reference)


def resolve_callable(reference: str) -> Callable:
    """The callable named `module:qualified.name`. ConfigError unless `allow` was called for it: a study file, or the
    folder of somebody's study, must not name code to run. The module is looked for where Python looks, and last in the
    working directory, which stays on the path: what it imports later may lie beside it."""
    if reference not in _allowed:
        raise ConfigError(
            f"{reference!r} names code, and only the command line and Python may do that: give it there, such as "
            f"--host {reference}"
        )
    module_name, _, attribute = reference.partition(":")
    if module_name.endswith(".py"):
        raise ConfigError(f"{reference!r}: write the module, {module_name.removesuffix('.py') + ':' + attribute!r}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # the program `dopant` begins without it
        sys.path.append(here)
    try:
        target: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
    except Exception as error:
        advice = ""
        if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
            advice = f"; it is looked for along PYTHONPATH and in the working directory, {here}"
        raise ConfigError(f"{reference!r}: the module {module_name!r} fails to import: {error}{advice}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            known = [n for n in dir(target) if not n.startswith("_")]
            near = nearest(part, known)
            raise ConfigError(f"{reference!r}: no {part!r} there" + (f"; did you mean {near[0]!r}?" if near else ""))
        target = getattr(target, part)
    if not callable(target):
        raise ConfigError(f"{reference!r} is not callable")
    return target


# --- components -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ComponentInfo:
    """What is known of a component before it is built.

    fills: a module class, several, or a predicate (old, signature) -> None or the reason why not; None fits anything.
    mode: how it fills a slot: replace, wrap (the factory's module holds the old one), insert (after the old one), group
        (the factory takes {slot: old} and {slot: signature} and returns {slot: new}).
    control: None, or which of CONTROL_KINDS it is. A control may take a keyword `target`: the component it controls.
    facts: what it declares (and the laws then test instead of the default): stochastic_in_eval, couples_samples,
        no_input_gradient, surrogate_gradient (straight-through: not the slope), changes_shape, linear, unitary.
    examples: options with which the laws test it; needed where an option has no default.
    """

    name: str
    factory: Callable
    fills: Any = None
    paper: str | None = None
    controls: tuple[str, ...] = ()
    mode: str = "replace"
    control: str | None = None
    source: str = ""
    doc: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def options(self) -> tuple[Option, ...]:
        """What a swap can set: the factory's parameters after the two that dopant passes, without `PASSED`."""
        return options_of(self.factory, leading=2)


KNOWN_FACTS = (
    "stochastic_in_eval", "couples_samples", "no_input_gradient", "surrogate_gradient", "changes_shape", "linear",
    "unitary",
)  # fmt: skip

components: Registry[ComponentInfo] = Registry("component", "dopant.components")
hosts: Registry[Callable] = Registry("host", "dopant.hosts")
builders: Registry[Callable] = Registry("builder of hosts", "dopant.hosts")
datasets: Registry[Callable] = Registry("data set", "dopant.datasets")
tasks: Registry[Any] = Registry("task", "dopant.tasks")
baselines: Registry[Callable] = Registry("baseline", "dopant.baselines")
rules: Registry[Callable] = Registry("rule", "dopant.training.rules")
metrics: Registry[Any] = Registry("metric", "dopant.training")
papers: Registry[Any] = Registry("paper", "dopant.papers")


def component(
    name: str,
    fills: Any = None,
    paper: str | None = None,
    controls: list[str] | tuple[str, ...] = (),
    *,
    mode: str = "replace",
    control: str | None = None,
    examples: tuple[dict[str, Any], ...] = (),
    **facts: Any,
) -> Callable[[Callable], Callable]:
    """Decorator: register a factory `(old, signature, *, options…) -> nn.Module` under `name`.

    The factory runs with torch's default generator seeded from `slot:NAME`; a parameter named `generator` gets a
    torch.Generator of that stream too, and one named `target` (controls) the component that it controls.
    See ComponentInfo for the other arguments. Raises ConfigError for an unknown fact, mode or kind of control, for a
    name taken elsewhere or with signs of the command line in it, and for what is no such factory (a class, say).
    """
    if not isinstance(name, str):
        raise ConfigError("a component needs a name: write @dp.component('my-layer', fills=…) with the brackets")
    problems = []
    if not re.fullmatch(NAME, name):
        problems.append(f"component {name!r}: a name has letters, digits, '-', '_' and '.', such as 'my-layer'")
    problems += _fills_problems(name, fills)
    for fact in facts:
        if fact not in KNOWN_FACTS:
            near = nearest(fact, KNOWN_FACTS)
            problems.append(
                f"component {name!r}: unknown fact {fact!r}"
                + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(KNOWN_FACTS)}")
            )
    if mode not in MODES:
        problems.append(f"component {name!r}: mode {mode!r} is none of {', '.join(MODES)}")
    if control is not None and control not in CONTROL_KINDS:
        problems.append(f"component {name!r}: control {control!r} is none of {', '.join(CONTROL_KINDS)}")
    if problems:
        raise ConfigError(problems)

    def register(factory: Callable) -> Callable:
        wrong = _factory_problem(name, factory)
        if wrong:
            raise ConfigError(wrong)
        origin = origin_of(factory)
        info = ComponentInfo(
            name, factory, fills, paper, tuple(controls), mode, control, origin, inspect.getdoc(factory) or "", facts,
            tuple(examples),
        )  # fmt: skip
        components.add(name, info, origin)
        return factory

    return register


def _fills_problems(name: str, fills: Any) -> list[str]:
    """What `fills` is that it must not be."""
    for one in fills if isinstance(fills, (tuple, list)) else (fills,):
        predicate = one is fills and callable(one) and not hasattr(one, "state_dict")  # an instance is no predicate
        if one is None or isinstance(one, type) or predicate:
            continue
        said = f"the instance {type(one).__name__}(…)" if hasattr(one, "state_dict") else repr(one)
        return [f"component {name!r}: fills is {said}; give a module class, such as fills=nn.Linear, several, or a "
                "function (old, signature) -> None or the reason why not"]  # fmt: skip
    return []


def _factory_problem(name: str, factory: Any) -> str | None:
    """Why `factory` cannot be called as (old, signature); None if it can."""
    call = "def make(old, signature): return …"
    if isinstance(factory, type):
        return (
            f"component {name!r}: {factory.__name__} is a class; register a function that returns an instance of it: "
            f"def make(old, signature): return {factory.__name__}(…)"
        )
    if not callable(factory):
        return f"component {name!r}: a {type(factory).__name__} cannot be called; register a function: {call}"
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) < 2 or {places[0].name, places[1].name} & set(PASSED):
        takes = f"({', '.join(p.name for p in parameters)})"
        return (
            f"component {name!r}: its factory takes {takes}; it is called with the old module and the slot's "
            f"signature: {call}"
        )
    return None


def list_components(fills: Any = None) -> list[ComponentInfo]:
    """All registered components, or those that declare to fill `fills` (a module class or its name).

    A component with a predicate is listed where it fits one of the built-in probes' slots of that class (or there is no
    such slot); one with None, or of a group, always. Cost: with predicates, a second to measure the probes.
    """

    def fits(info: ComponentInfo) -> bool:
        if fills is None or info.fills is None:
            return True
        if callable(info.fills) and not isinstance(info.fills, type):
            from .laws.probes import may_fill

            return may_fill(info, fills if isinstance(fills, str) else fills.__name__)
        classes = info.fills if isinstance(info.fills, (tuple, list)) else (info.fills,)
        if isinstance(fills, str):
            return any(fills in [base.__name__ for base in c.__mro__] for c in classes)
        return any(issubclass(fills, c) for c in classes)

    return [info for info in components if fits(info)]


def _simple(registry: Registry, name: str) -> Callable[[Callable], Callable]:
    def register(target: Callable) -> Callable:
        registry.add(name, target, origin_of(target))
        return target

    return register


def register_host(name: str) -> Callable[[Callable], Callable]:
    """Decorator: register a factory `(**options) -> nn.Module` as a host. Options with the names `in_channels`, `size`
    and `classes` are filled from the data set where the study does not say them."""
    return _simple(hosts, name)


def register_builder(package: str) -> Callable[[Callable], Callable]:
    """Decorator: register `build(name) -> factory` for hosts named `PACKAGE:NAME`, networks of another package.

    It must build by a list of names and run no code that a name or an option brings: study files may name such hosts.
    The installed version of `package` is part of the identity of their trials.
    """
    return _simple(builders, package)


def built_by(reference: str) -> Callable | None:
    """The factory of a host named `PACKAGE:NAME` with a registered builder; None for any other reference.

    Raises what the builder raises: ConfigError without the package, UnknownName for a name that it has not.
    """
    package, colon, name = reference.partition(":")
    return builders.get(package)(name) if colon and package in builders else None


def names_code(reference: object) -> bool:
    """Whether a reference is `module:callable`, which a study file must not hold; a builder's `PACKAGE:NAME` is not."""
    return isinstance(reference, str) and ":" in reference and reference.split(":")[0] not in builders


def register_dataset(name: str) -> Callable[[Callable], Callable]:
    """Decorator: register a loader `(**options) -> dopant.datasets.Source`."""
    return _simple(datasets, name)


def baseline(name: str) -> Callable[[Callable], Callable]:
    """Decorator: register a factory `(**options)` of a whole other model on the same task (see dopant.baselines).

    It returns an object with `fit(inputs, targets, validation=None)` and `scores(inputs)` -> (items, classes), all
    NumPy arrays, or an estimator as scikit-learn's.
    """
    return _simple(baselines, name)


def register_rule(name: str) -> Callable[[Callable], Callable]:
    """Decorator: register a training rule (see dopant.training.rules)."""
    return _simple(rules, name)

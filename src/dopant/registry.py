"""Names of every kind: components, hosts, data sets, tasks, rules, losses, optimizers, schedules, metrics, papers.

One registration in one file is all it takes. Built-in files are found by walking their package, installed plug-ins by
the entry-point group `dopant.plugins`, a user's own files by `load_file` (`--with FILE.py`). Nothing depends on an
import that somebody must remember.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import ConfigError, UnknownName, nearest

T = TypeVar("T")

CONTROL_KINDS = ("same class", "surrogate", "same capacity", "ablation")
MODES = ("replace", "wrap", "insert", "group")

_loading_from: list[str] = []  # the file or plug-in being loaded, for messages
_plugins_loaded = False


class Registry(Generic[T]):
    """Names of one kind. `package` is walked at the first look-up, so a new file registers by being there."""

    def __init__(self, kind: str, package: str | None = None):
        self.kind, self.package = kind, package
        self._items: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._walked = False

    def add(self, name: str, value: T, origin: str) -> T:
        """Register `value`; the same name from another place is refused, naming both places."""
        if name in self._items and self._origins[name] != origin:
            raise ConfigError(
                f"two {self.kind}s are named {name!r}: {self._origins[name]} and {origin}; rename one of them"
            )
        self._items[name], self._origins[name] = value, origin
        return value

    def get(self, name: str) -> T:
        """The value named `name`; UnknownName with the nearest names otherwise."""
        self._load()
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items)
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
        if not self._walked:
            self._walked = True  # first, since the files walked may look up names themselves
            if self.package:
                try:
                    walk(self.package)
                except BaseException:
                    self._walked = False
                    raise
        load_plugins()


def walk(package: str) -> None:
    """Import every module below `package`."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, prefix=package + "."):
        importlib.import_module(module.name)


def load_plugins() -> None:
    """Import what installed packages declare under the entry-point group `dopant.plugins`, once."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for entry in entry_points(group="dopant.plugins"):
        _loading_from.append(f"plug-in {entry.name}")
        try:
            entry.load()
        except Exception as error:
            raise ConfigError(f"plug-in {entry.name!r} ({entry.value}) fails to import: {error!r}") from error
        finally:
            _loading_from.pop()


def load_file(path: str | Path) -> Any:
    """Import a user's file (`--with`), which registers what it decorates; returns the module.

    The module's name is the file's stem, so `my_file:Net` finds it later. Loading the same file twice is one load.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r}")
    for module in list(sys.modules.values()):
        if str(path) in (getattr(module, "__dopant_file__", None), getattr(module, "__file__", None)):
            return module
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dopant_file__ = str(path)  # type: ignore[attr-defined]
    previous = sys.modules.get(name)
    if previous is not None and getattr(previous, "__file__", None) not in (None, str(path)):
        raise ConfigError(f"{str(path)!r} would hide the module {name!r} already in use; rename the file")
    sys.modules[name] = module
    _loading_from.append(str(path))
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise ConfigError(f"{str(path)!r} fails to import: {type(error).__name__}: {error}") from error
    finally:
        _loading_from.pop()
    return module


_allowed: set[str] = set()


def allow(reference: str) -> None:
    """Let this process resolve `reference`: it came from the command line or from Python, not from a file."""
    _allowed.add(reference)


def resolve_callable(reference: str) -> Callable:
    """The callable named `module:qualified.name`. ConfigError unless `allow` was called for it: a study file, or the
    folder of somebody's study, must not name code to run."""
    if reference not in _allowed:
        raise ConfigError(
            f"{reference!r} names code, and only the command line and Python may do that: give it there, such as "
            f"--host {reference}"
        )
    module_name, _, attribute = reference.partition(":")
    if module_name.endswith(".py"):
        raise ConfigError(f"{reference!r}: write the module, {module_name.removesuffix('.py') + ':' + attribute!r}")
    try:
        target: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"{reference!r}: the module {module_name!r} fails to import: {error}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            known = [n for n in dir(target) if not n.startswith("_")]
            near = nearest(part, known)
            raise ConfigError(f"{reference!r}: no {part!r} there" + (f"; did you mean {near[0]!r}?" if near else ""))
        target = getattr(target, part)
    if not callable(target):
        raise ConfigError(f"{reference!r} is not callable")
    return target


def origin_of(target: Callable) -> str:
    """Where a registered callable comes from, for messages about clashes."""
    if _loading_from:
        return _loading_from[-1]
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', target)}"


def check_options(
    kind: str, name: str, function: Callable, options: dict[str, Any], reserved: int | set[str]
) -> list[str]:
    """Problems with keyword `options` of a factory: unknown names (nearest given) and missing required ones.

    `reserved`: how many leading parameters, or which names, dopant itself passes.
    """
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []
    names = list(parameters)
    taken = set(names[:reserved]) if isinstance(reserved, int) else reserved
    free = {n: p for n, p in parameters.items() if n not in taken}
    if any(p.kind is p.VAR_KEYWORD for p in free.values()):
        return []
    free = {n: p for n, p in free.items() if p.kind is not p.VAR_POSITIONAL}
    problems = []
    for option in options:
        if option not in free:
            near = nearest(option, free)
            tail = (
                f"; did you mean {near[0]!r}?"
                if near
                else (f"; it takes {', '.join(free)}" if free else "; it takes none")
            )
            problems.append(f"{kind} {name!r} has no option {option!r}{tail}")
    for option, parameter in free.items():
        if parameter.default is parameter.empty and option not in options and option not in ("generator", "target"):
            problems.append(f"{kind} {name!r} needs the option {option!r}")
    return problems + _wrong_types(kind, name, function, {k: v for k, v in options.items() if k in free})


def _wrong_types(kind: str, name: str, function: Callable, options: dict[str, Any]) -> list[str]:
    """Options whose value is not of the annotated type; where an annotation cannot be resolved, nothing is said."""
    from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

    if not options:
        return []
    try:
        target = function.__init__ if isinstance(function, type) else function
        hints = typing.get_type_hints(target)
    except Exception:  # a name that exists for type checkers only
        return []
    problems = []
    for option, value in options.items():
        if option not in hints:
            continue
        try:
            TypeAdapter(hints[option], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            problems.append(f"{kind} {name!r}: option {option!r}: {first[0].lower()}{first[1:]}, not {value!r}")
        except (PydanticSchemaGenerationError, TypeError):
            continue
    return problems


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


KNOWN_FACTS = (
    "stochastic_in_eval", "couples_samples", "no_input_gradient", "surrogate_gradient", "changes_shape", "linear",
    "unitary",
)  # fmt: skip

components: Registry[ComponentInfo] = Registry("component", "dopant.components")
hosts: Registry[Callable] = Registry("host", "dopant.hosts")
builders: Registry[Callable] = Registry("builder of hosts", "dopant.hosts")
datasets: Registry[Callable] = Registry("data set", "dopant.datasets")
tasks: Registry[Any] = Registry("task", "dopant.tasks")
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
    See ComponentInfo for the other arguments. Raises ConfigError for an unknown fact, mode or kind of control.
    """
    problems = []
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
        origin = origin_of(factory)
        info = ComponentInfo(
            name, factory, fills, paper, tuple(controls), mode, control, origin, inspect.getdoc(factory) or "", facts,
            tuple(examples),
        )  # fmt: skip
        components.add(name, info, origin)
        return factory

    return register


def list_components(fills: Any = None) -> list[ComponentInfo]:
    """All registered components, or those that declare to fill `fills` (a module class or its name).

    A predicate or None in `fills` may fit anything; such components are listed always.
    """

    def fits(info: ComponentInfo) -> bool:
        if fills is None or info.fills is None or (callable(info.fills) and not isinstance(info.fills, type)):
            return True
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


def register_rule(name: str) -> Callable[[Callable], Callable]:
    """Decorator: register a training rule (see dopant.training.rules)."""
    return _simple(rules, name)

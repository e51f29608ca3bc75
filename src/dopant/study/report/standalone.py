"""A figure of the page as a file of its own: the page's style sheet is worked into the elements, so nothing is left to
resolve. What renders SVG outside a browser knows neither custom properties nor the page that a figure stood in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
GROUND = "--ground"
FONTS = '"Liberation Sans", Arial, Helvetica, "Noto Sans", "DejaVu Sans", sans-serif'
MONOSPACE = '"Liberation Mono", "DejaVu Sans Mono", monospace'
# What a renderer of SVG understands as attributes; everything else of a style sheet is about boxes.
DRAWN = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-linecap", "stroke-linejoin", "opacity", "color", "font-family", "font-size", "font-style", "font-weight",
    "letter-spacing", "text-anchor", "text-decoration", "dominant-baseline", "visibility", "paint-order",
}  # fmt: skip
_PART = re.compile(
    r"(?P<sign>[.#:]{1,2})?(?P<name>[\w-]+)|\[(?P<key>[\w-]+)(?:=\"?(?P<value>[^\"\]]*)\"?)?\]|(?P<any>\*)"
)
_LIGHT = re.compile(r"light-dark\(\s*([^,()]+(?:\([^()]*\))?)\s*,[^()]*(?:\([^()]*\))?\s*\)")
PADDING = 12.0  # of the ground around the figure
_VAR = re.compile(r"var\(\s*(--[\w-]+)\s*(?:,\s*([^()]*))?\)")


@dataclass(frozen=True)
class Compound:
    """One step of a selector, such as `svg.wide` or `:root`."""

    tag: str = ""
    classes: frozenset[str] = frozenset()
    identity: str = ""
    root: bool = False
    attributes: tuple[tuple[str, str | None], ...] = ()

    def fits(self, element: Place) -> bool:
        return (
            (not self.tag or self.tag == element.tag)
            and self.classes <= element.classes
            and (not self.identity or self.identity == element.attributes.get("id"))
            and (not self.root or element.parent is None)
            and all(k in element.attributes and (v is None or element.attributes[k] == v) for k, v in self.attributes)
        )


@dataclass(frozen=True)
class Rule:
    """steps: compounds from the outermost to the element itself. close: whether each is a child of the one before."""

    steps: tuple[Compound, ...]
    close: tuple[bool, ...]
    declarations: dict[str, str]
    weight: tuple[int, int, int, int]


@dataclass
class Place:
    """An element where it stands, for matching: of the page around the figure, too."""

    tag: str
    classes: frozenset[str]
    attributes: dict[str, str]
    parent: Place | None
    variables: dict[str, str] = field(default_factory=dict)


def rules_of(css: str) -> list[Rule]:
    """The rules of a style sheet that hold on a wide screen in the light theme: those outside of `@` blocks.

    Selectors with pseudo-classes other than `:root`, or with sibling signs, fit nothing that is printed, and are left
    out.
    """
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    found: list[Rule] = []
    for selectors, body in _blocks(css):
        declarations = {}
        for part in body.split(";"):
            key, colon, value = part.partition(":")
            if colon:
                declarations[key.strip()] = value.replace("!important", "").strip()
        for selector in selectors.split(","):
            read = _selector(selector)
            if read is not None:
                found.append(Rule(*read[:2], declarations, (*read[2], len(found))))
    return sorted(found, key=lambda rule: rule.weight)


def _blocks(css: str) -> Iterator[tuple[str, str]]:
    """(selectors, declarations) of the outermost level; whole `@` blocks are passed over."""
    at = 0
    while (opening := css.find("{", at)) >= 0:
        head = css[at:opening].rpartition(";")[2].strip()  # after an @import or the like
        depth, end = 1, opening + 1
        while depth and end < len(css):
            depth += {"{": 1, "}": -1}.get(css[end], 0)
            end += 1
        if not head.startswith("@"):
            yield head, css[opening + 1 : end - 1]
        at = end


def _selector(text: str) -> tuple[tuple[Compound, ...], tuple[bool, ...], tuple[int, int, int]] | None:
    """(steps, close, specificity) of one selector; None for one that never fits here."""
    words = re.sub(r"\s*>\s*", " >", text.strip()).split()
    if not words or re.search(r"[+~(]", text):
        return None
    steps, close = [], []
    identities = classes = tags = 0
    for word in words:
        close.append(word.startswith(">"))
        word = word.removeprefix(">")
        if _PART.sub("", word):
            return None
        tag = identity = ""
        names, attributes, root = set(), [], False
        for part in _PART.finditer(word):
            sign, name = part["sign"], part["name"]
            if part["key"]:
                attributes.append((part["key"], part["value"]))
            elif sign == ".":
                names.add(name)
            elif sign == "#":
                identity = name
            elif sign == ":" and name == "root":
                root = True
            elif sign:
                return None
            elif name:
                tag = name
        steps.append(Compound(tag, frozenset(names), identity, root, tuple(attributes)))
        identities += bool(identity)
        classes += len(names) + len(attributes) + root
        tags += bool(tag)
    return tuple(steps), tuple(close), (identities, classes, tags)


def standalone(figure: str, rules: list[Rule], around: Sequence[str] = ()) -> str:
    """The figure (an <svg> element as text) with every colour, width and font written into its elements.

    rules: of the page's style sheet, by `rules_of`. around: the elements of the page that it stands in, from the
    outermost on, such as `figure.control`. Light theme, on the page's ground. Raises ParseError where it is not XML.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(_xml(figure))
    place = Place("html", frozenset(), {"data-theme": "light", "lang": "en"}, None)
    place.variables = _matched(place, rules)[1]
    for name in ("body", *around):
        tag, *classes = name.split(".")
        place = Place(tag, frozenset(classes), {}, place)
        place.variables = _matched(place, rules)[1]
    variables = place.variables
    _settle(root, place, rules)
    left, top, width, height = _padded(root)
    box = {"x": f"{left:g}", "y": f"{top:g}", "width": f"{width:g}", "height": f"{height:g}"}
    ground = ElementTree.Element(f"{{{SVG}}}rect", box | {"fill": _value(f"var({GROUND}, #fff)", variables)})
    first = next((i for i, child in enumerate(root) if _tag(child) not in ("title", "desc")), len(root))
    root.insert(first, ground)
    root.set("font-family", FONTS)
    for key in ("class", "aria-label", "role"):
        root.attrib.pop(key, None)
    return ElementTree.tostring(root, encoding="unicode")


def _padded(root: ElementTree.Element) -> tuple[float, float, float, float]:
    """Widens the figure by the padding on each side -> its view box."""
    given = root.get("viewBox") or f"0 0 {root.get('width', '300')} {root.get('height', '150')}"
    x, y, width, height = (float(v) for v in given.replace(",", " ").replace("px", "").split())
    box = (x - PADDING, y - PADDING, width + 2 * PADDING, height + 2 * PADDING)
    root.set("viewBox", " ".join(f"{v:g}" for v in box))
    root.set("width", f"{box[2]:g}")
    root.set("height", f"{box[3]:g}")
    return box


def _xml(figure: str) -> str:
    """Without what XML cannot hold: HTML takes some of it."""
    figure = re.sub(r"&nbsp;", "\u00a0", figure)
    figure = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", "\ufffd", figure)
    return figure if "xmlns=" in figure.partition(">")[0] else figure.replace("<svg", f'<svg xmlns="{SVG}"', 1)


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _settle(element: ElementTree.Element, parent: Place, rules: list[Rule]) -> None:
    """Writes what the rules say of an element, and of all in it, into attributes."""
    place = Place(_tag(element), frozenset(element.get("class", "").split()), dict(element.attrib), parent)
    declared, place.variables = _matched(place, rules)
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = part.partition(":")
        known = place.variables if key.strip().startswith("--") else declared
        known[key.strip()] = value.strip()
    for key, value in declared.items():
        value = _value(value, place.variables)
        if key in DRAWN and value and value != "inherit" and "var(" not in value:
            if key == "font-family":
                value = MONOSPACE if "mono" in value.lower() else FONTS
            if key == "font-weight" and value.isdigit():
                value = str(min(900, max(100, round(int(value) / 100) * 100)))  # 650 is no weight that files have
            element.set(key, value)
    for key, value in list(element.attrib.items()):
        if "var(" in value:
            element.set(key, _value(value, place.variables))
    if declared.get("display") == "none" and parent.tag != "body" and _tag(element) != "svg":
        element.set("display", "none")
    for child in element:
        _settle(child, place, rules)
    for key in ("class", "tabindex", "data-value"):
        element.attrib.pop(key, None)


def _matched(place: Place, rules: list[Rule]) -> tuple[dict[str, str], dict[str, str]]:
    """(declarations, variables) of an element; variables are inherited."""
    declared: dict[str, str] = {}
    for rule in rules:
        if _fits(rule, place):
            declared |= rule.declarations
    variables = dict(place.parent.variables) if place.parent else {}
    own = {k: v for k, v in declared.items() if k.startswith("--")}
    inherited = dict(variables)
    variables |= {k: _value(v, inherited | {o: x for o, x in own.items() if o != k}) for k, v in own.items()}
    return {k: v for k, v in declared.items() if k not in own}, variables


def _fits(rule: Rule, place: Place) -> bool:
    if not rule.steps[-1].fits(place):
        return False
    return _above(rule, len(rule.steps) - 1, place)


def _above(rule: Rule, step: int, place: Place) -> bool:
    """Whether what stands before `step` fits the elements around `place`."""
    if step == 0:
        return True
    outer = place.parent
    while outer is not None:
        if rule.steps[step - 1].fits(outer) and _above(rule, step - 1, outer):
            return True
        if rule.close[step]:
            return False
        outer = outer.parent
    return False


def _value(value: str, variables: dict[str, str], depth: int = 8) -> str:
    """The value with its `var(--x, otherwise)` resolved."""
    while depth and "var(" in value:
        value = _VAR.sub(lambda m: variables.get(m[1], (m[2] or "").strip()), value)
        depth -= 1
    return _LIGHT.sub(r"\1", value)

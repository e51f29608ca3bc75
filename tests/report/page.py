"""The page as a reader gets it: its HTML as a tree, its tables, and whether a text is a correct rounding of a value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "col"}
FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "%": 1e-2, "pp": 1e-2}
_NUMBER = re.compile(r"([+-]?)((?:\d[\d,]*)(?:\.(\d+))?)(?:e([+-]?\d+))?\s*(\S*)")


@dataclass
class Node:
    """An element. children: elements and texts."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)
    parent: Node | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def find(self, tag: str = "", class_: str = "", **attributes: str) -> list[Node]:
        """Every element below with this tag, class and attributes."""
        return [
            n for n in self.walk()
            if (not tag or n.tag == tag)
            and (not class_ or class_ in n.attributes.get("class", "").split())
            and all(n.attributes.get(k) == v for k, v in attributes.items())
        ]  # fmt: skip

    def inside(self, tag: str) -> Node | None:
        """The nearest element around this one with this tag."""
        node = self.parent
        while node is not None and node.tag != tag:
            node = node.parent
        return node


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("")

    def handle_starttag(self, tag, attrs):
        node = Node(tag, {k: v or "" for k, v in attrs}, parent=self.here)
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_startendtag(self, tag, attrs):
        self.here.children.append(Node(tag, {k: v or "" for k, v in attrs}, parent=self.here))

    def handle_endtag(self, tag):
        node = self.here
        while node.tag != tag and node.parent is not None:
            node = node.parent
        if node.parent is not None:
            self.here = node.parent

    def handle_data(self, data):
        self.here.children.append(data)


def parse(html: str) -> Node:
    tree = _Tree()
    tree.feed(html)
    tree.close()
    return tree.root


@dataclass(frozen=True)
class Cell:
    """What a table's cell shows. value: of its `<data>`, None where it has none."""

    text: str
    value: str | None


@dataclass(frozen=True)
class Table:
    """columns: the names (`data-column`). shares: those that are in percentage points. rows: {column: Cell}."""

    id: str
    columns: list[str]
    shares: set[str]
    rows: list[dict[str, Cell]]

    def data(self) -> int:
        return sum(c.value is not None for row in self.rows for c in row.values())


def tables(root: Node) -> list[Table]:
    """Every table of the page."""
    found = []
    for node in root.find("table"):
        heads = [n for n in node.find("th") if "data-column" in n.attributes]
        columns = [n.attributes["data-column"] for n in heads]
        shares = {n.attributes["data-column"] for n in heads if n.text.endswith(", pp")}
        rows = []
        for row in (n for body in node.find("tbody") for n in body.find("tr")):
            cells = [n for n in row.children if isinstance(n, Node) and n.tag in ("td", "th")]
            rows.append(dict(zip(columns, map(_cell, cells), strict=True)))
        found.append(Table(node.attributes.get("id", ""), columns, shares, rows))
    return found


def _cell(node: Node) -> Cell:
    data = node.find("data")
    return Cell(node.text.strip(), data[0].attributes.get("value") if data else None)


def outside_tables(root: Node) -> list[Node]:
    """`<data>` that stands in no table."""
    return [n for n in root.find("data") if n.inside("table") is None]


def trials_left_out(root: Node) -> int:
    """How many trials the page says that its table leaves out."""
    found = [re.search(r"; (\d+) more are in trials\.csv", n.text) for n in root.find("p", id="cut")]
    return int(found[0][1]) if found and found[0] else 0


# --- roundings ------------------------------------------------------------------------------------------------------


def ascii_number(text: str) -> str:
    """True minus, thin spaces between thousands and dashes as a program reads them."""
    text = text.replace("\u2212", "-").strip()
    text = re.sub(r"(?<=\d)[\u202f\u2009\u00a0](?=\d{3})", "", text)
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def is_rounding(text: str, value: float, share: bool = False) -> bool:
    """Whether `text` shows `value` to as many digits as it has. share: it is in percentage points without saying so."""
    text = ascii_number(text)
    if math.isinf(value):
        return text == ("∞" if value > 0 else "-∞")
    if text == "< 0.001":
        return 0 <= value < 0.001
    if text == "exact":
        return value == 0
    found = _NUMBER.fullmatch(text)
    if found is None:
        return False
    sign, digits, decimals, power, unit = found.groups()
    if unit and unit not in FACTORS:
        return False
    scale = FACTORS[unit] if unit else 0.01 if share else 1.0
    scale *= 10.0 ** int(power or 0)
    shown = float(sign + digits.replace(",", ""))
    if shown and (shown < 0) != (value < 0):
        return False
    half = 0.5 * 10.0 ** -len(decimals or "")
    if not decimals and not power and not share and len(digits) < 3:
        half = 1e-9  # three digits are shown of what is not whole
    return abs(shown - value / scale) <= half * (1 + 1e-6) + 1e-9 * abs(shown)

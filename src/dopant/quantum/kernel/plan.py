"""What the compiled kernel is to do for a circuit: rotations gathered into passes, phases into tables.

Made once for a circuit and its measurement, on the CPU, with NumPy. Memory: 4 * 2^n bytes for each pass and group.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..amplitudes import without
from ..angles import Angle, Source
from ..circuit import Circuit
from ..lowering import Tableau, lower, schedule
from ..observables import Measurement
from .kinds import GIVEN, ROTATE, SAMPLE, SHARED, START

PATTERNS = 6  # strings in one table of sign patterns: 64 rows stay in the first cache
TOGETHER = 3  # rotations of one pass: what fits in registers backward


@dataclass
class Plan:
    """The arrays of engine.py, and how inputs and outputs relate to the circuit's.

    circuit: with affine angles only; what was not affine reads extra feature columns, `derived`, after its own
    `features`.
    given: whether every sample brings a start state; the circuit's encodings, which make it, are not in `circuit`.
    words: the distinct Z strings whose expectations are wanted; signs: by what their sums over rows are multiplied;
    columns: the matrix (words, outputs) that makes the observables of them.
    order: logical basis state of each row, for the state itself.
    """

    circuit: Circuit
    features: int
    given: bool
    derived: list[Angle]
    ops: np.ndarray
    idx: np.ndarray
    pat: np.ndarray
    groups: np.ndarray
    tables: int
    mops: np.ndarray
    words: tuple[str, ...]
    signs: np.ndarray
    columns: np.ndarray
    base: np.ndarray
    sampled: np.ndarray
    fptr: np.ndarray
    fidx: np.ndarray
    fcoef: np.ndarray
    wptr: np.ndarray
    widx: np.ndarray
    wcoef: np.ndarray
    scales: int
    largest: int
    order: np.ndarray
    shapes: dict[Any, Any] = field(default_factory=dict)  # of the calls so far, see tables.py

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "shapes": {}}  # tables hold addresses of this process

    @property
    def flops(self) -> float:
        """Of one forward pass of one sample: 4 a row and rotation (two real multiply-adds), 6 a row and table
        of phases.

        Backward un-computes state and adjoint and takes the derivatives: three times that.
        """
        rotations = sum(op[1] for op in self.ops if op[0] == ROTATE)
        phases = sum(1 for op in self.ops if op[0] in (SHARED, SAMPLE))
        return float(self.rows * (4 * rotations + 6 * phases + 2 + 4 * len(self.mops)))

    @functools.cached_property
    def dropped(self) -> list[int]:
        """Features that gates read and the plan does not: those of phases right before a measurement."""
        read = {f for gate in self.circuit.gates for f in gate.features}
        return sorted(read - set(self.fidx.tolist()))

    @functools.cached_property
    def prepared(self) -> bool:
        """Whether features are not taken as they come: see run.py."""
        return self.given or bool(self.derived)

    @functools.cached_property
    def sampled_rows(self) -> int:
        """Rows of angles that differ between samples."""
        return int(self.sampled.sum())

    @functools.cached_property
    def rows(self) -> int:
        return 1 << self.circuit.qubits


@dataclass
class _Building:
    n: int
    ops: list[tuple[int, ...]] = field(default_factory=list)
    idx: list[np.ndarray] = field(default_factory=list)
    idx_size: int = 0
    lanes: list[Angle] = field(default_factory=list)  # rows with a lane of their own for each sample
    pats: dict[tuple[int, ...], int] = field(default_factory=dict)
    pat: list[np.ndarray] = field(default_factory=list)
    groups: list[tuple[int, int, int, int]] = field(default_factory=list)
    shared: list[Angle] = field(default_factory=list)
    tables: int = 0
    scales: int = 0
    largest: int = 1

    def orbits(self, pairs: list[tuple[int, int]], only_zero: bool = False) -> int:
        """Offset of the table of the rows that the rotations (x, z) mix: element c of an orbit has those flipped whose
        bits are in c; element 0 has even parity over every z."""
        first = np.zeros(1, np.int64) if only_zero else np.arange(1 << self.n)
        if not only_zero:
            for _, z in pairs:
                first = first[parity(first & z) == 0]
        shifts = np.zeros(1, np.int64)
        for x, _ in pairs:
            shifts = np.concatenate([shifts, shifts ^ x])
        table = (first[:, None] ^ shifts[None, :]).astype(np.int32).ravel()
        self.idx.append(table)
        self.idx_size += table.size
        return self.idx_size - table.size

    def patterns(self, zs: tuple[int, ...]) -> int:
        """Offset of the table of sign patterns: bit j of row b is the parity of b over zs[j]."""
        if zs not in self.pats:
            b = np.arange(1 << self.n)
            found = sum((parity(b & z) << j for j, z in enumerate(zs)), np.zeros_like(b))
            self.pats[zs] = len(self.pat) << self.n
            self.pat.append(found.astype(np.int32))
        return self.pats[zs]


def parity(numbers: np.ndarray) -> np.ndarray:
    return np.bitwise_count(numbers).astype(np.int64) & 1


def plan(circuit: Circuit, measured: Measurement) -> Plan | None:
    """None where the kernel cannot do the circuit (a dense matrix of more than its own kind)."""
    given, circuit = circuit, without(circuit)
    starts, features = given is not circuit, circuit.features
    circuit, derived = affine(circuit)
    lowered = lower(circuit)
    if lowered is None:
        return None
    rotations, tableau = lowered
    layers = schedule(rotations)
    building = _Building(circuit.qubits)
    # not those of probabilities, whose second derivatives are taken of the state itself
    diagonal = measured.diagonal
    if diagonal and layers and not layers[-1][0]:
        layers.pop()  # phases right before a measurement change nothing
    if diagonal:
        # global phases change nothing either
        layers = [(real, {k: a for k, a in layer.items() if k != (0, 0)}) for real, layer in layers]
        layers = [(real, layer) for real, layer in layers if layer]
    if starts:
        building.ops.append((GIVEN, 0, 0, 0, 0, 0))
    else:
        layers = _start(building, layers, keep_phase=not diagonal)
    for real, layer in layers:
        if real:
            _passes(building, layer)
        else:
            _phases(building, layer)
    return _finish(circuit, features, starts, derived, building, _measure(building, measured, tableau), tableau)


def _start(building: _Building, layers: list, keep_phase: bool) -> list:
    """Rotations that act on |0...0> first become a product state; phases before them are global."""
    layers = list(layers)
    global_phase = None
    if layers and not layers[0][0]:
        layer = layers.pop(0)[1]
        if keep_phase:
            global_phase = sum(layer.values(), Angle({}))
    if layers and layers[0][0]:
        chosen: list[tuple[int, int]] = []
        for x, z in layers[0][1]:
            if all((x & b).bit_count() % 2 == 0 and (a & z).bit_count() % 2 == 0 for a, b in chosen):
                chosen.append((x, z))
        _, layer = layers.pop(0)
        offset = building.orbits(chosen, only_zero=True)
        building.ops.append((START, len(chosen), offset, len(building.lanes), 0, 0))
        building.lanes += [layer[k] for k in chosen]
        building.largest = max(building.largest, 1 << len(chosen))
        rest = {k: a for k, a in layer.items() if k not in chosen}
        if rest:
            layers.insert(0, (True, rest))
    if global_phase is not None and global_phase.terms:
        for i, (real, layer) in enumerate(layers):
            if not real:
                layers[i] = (False, {**layer, (0, 0): layer.get((0, 0), Angle({})) + global_phase})
                break
        else:
            layers.append((False, {(0, 0): global_phase}))
    return layers


def _passes(building: _Building, layer: dict[tuple[int, int], Angle]) -> None:
    left = list(layer)
    while left:
        chosen: list[tuple[int, int]] = []
        for x, z in left:
            if len(chosen) < TOGETHER and all(
                (x & b).bit_count() % 2 == 0 and (a & z).bit_count() % 2 == 0 for a, b in chosen
            ):
                chosen.append((x, z))
        left = [k for k in left if k not in chosen]
        offset = building.orbits(chosen)
        orbits = (1 << building.n) >> len(chosen)
        building.ops.append((ROTATE, len(chosen), offset, len(building.lanes), orbits, building.scales))
        building.scales += 1
        building.lanes += [layer[k] for k in chosen]


def _phases(building: _Building, layer: dict[tuple[int, int], Angle]) -> None:
    shared = [(z, a) for (_, z), a in layer.items() if not _reads_features(a)]
    sample = [(z, a) for (_, z), a in layer.items() if _reads_features(a)]
    if shared:
        for first in range(0, len(shared), PATTERNS):
            part = shared[first : first + PATTERNS]
            offset = building.patterns(tuple(z for z, _ in part))
            building.groups.append((building.tables, len(part), offset, len(building.shared)))
            building.shared += [a for _, a in part]
        building.ops.append((SHARED, building.tables << building.n, 0, 0, 0, 0))
        building.tables += 1
    for first in range(0, len(sample), PATTERNS):
        part = sample[first : first + PATTERNS]
        offset = building.patterns(tuple(z for z, _ in part))
        building.ops.append((SAMPLE, len(part), offset, len(building.lanes), 0, 0))
        building.lanes += [a for _, a in part]


def _reads_features(angle: Angle) -> bool:
    return any(s.kind == "feature" for s in angle.sources)


def affine(circuit: Circuit) -> tuple[Circuit, list[Angle]]:
    """The circuit with every angle that is not affine read from a further column, and those angles."""
    derived: list[Angle] = []
    first, gates = circuit.features, []
    for gate in circuit.gates:
        angles = []
        for angle in gate.angles:
            if not angle.is_affine:
                if angle not in derived:
                    derived.append(angle)
                angle = Angle({(Source("feature", first + derived.index(angle)),): 1.0})
            angles.append(angle)
        gates.append(replace(gate, angles=tuple(angles)))
    return (circuit.with_gates(gates), derived) if derived else (circuit, derived)


def _measure(building: _Building, measured: Measurement, tableau: Tableau) -> tuple[list, tuple[str, ...], Any, Any]:
    words = (
        tuple(sorted({s for total in measured.sums for s in total.strings}, reverse=True)) if measured.diagonal else ()
    )
    columns = np.zeros((len(words), len(measured.sums)))
    for k, total in enumerate(measured.sums if words else ()):
        for s, c in zip(total.strings, total.coefficients, strict=True):
            columns[words.index(s), k] += c
    found = [tableau.pauli({q: s for q, s in enumerate(word) if s == "Z"}) for word in words]
    mops = []
    for first in range(0, len(words), PATTERNS):
        part = tuple(z for _, z, _ in found[first : first + PATTERNS])
        mops.append((len(part), building.patterns(part), first))
    return mops, words, np.asarray([float(sign) for _, _, sign in found]), columns


def _finish(circuit: Circuit, features: int, given: bool, derived: list[Angle], building: _Building, measured: tuple,
            tableau: Tableau) -> Plan:  # fmt: skip
    mops, words, signs, columns = measured
    angles = building.lanes + building.shared
    base, sampled = np.zeros(len(angles)), np.zeros(len(building.lanes), np.bool_)
    f: list[list[tuple[int, float]]] = []
    w: list[list[tuple[int, float]]] = []
    for r, angle in enumerate(angles):
        base[r] = angle.constant
        f.append([(m[0].index, c) for m, c in angle.terms.items() if m and m[0].kind == "feature"])
        w.append([(m[0].index, c) for m, c in angle.terms.items() if m and m[0].kind == "weight"])
        if r < len(building.lanes):
            sampled[r] = bool(f[-1])
    fptr, fidx, fcoef = _csr(f)
    wptr, widx, wcoef = _csr(w)
    rows = np.arange(1 << building.n)
    order = np.zeros_like(rows)
    for q in range(building.n):
        order = order << 1 | parity(rows & tableau.z[q]) ^ tableau.flip[q]
    groups = np.asarray(building.groups, np.int64).reshape(-1, 4)
    groups[:, 3] += len(building.lanes)  # their rows come after those with lanes
    return Plan(
        circuit, features, given, derived,
        np.asarray(building.ops, np.int64).reshape(-1, 6), _joined(building.idx), _joined(building.pat),
        groups, building.tables,
        np.asarray(mops, np.int64).reshape(-1, 3), words, signs, columns, base, sampled, fptr, fidx, fcoef,
        wptr, widx, wcoef,
        building.scales, building.largest, order,
    )  # fmt: skip


def _csr(rows: list[list[tuple[int, float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = [entry for row in rows for entry in row]
    pointers = np.zeros(len(rows) + 1, np.int64)
    pointers[1:] = np.cumsum([len(row) for row in rows])
    return pointers, np.asarray([i for i, _ in flat], np.int64), np.asarray([c for _, c in flat], np.float64)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)

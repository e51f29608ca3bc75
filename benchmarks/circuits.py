"""dopant's quantum engine beside its peers: the same circuits, the same numbers, one thread, steps by turns in one run.

    python benchmarks/circuits.py --make-envs --envs DIR                     once: an environment for each peer
    python benchmarks/circuits.py --workload W1 --qubits 4,8,12 --envs DIR   [--peers a,b] [--json OUT] [--gate]

W1  batch 200, RY encoding, 4 layers of RY RZ and a CNOT ring, <Z> of all, gradients for inputs and weights; 2-14 qubits
W3  re-uploading, 5 repetitions, 6 qubits, batch 64, the same gradients
W4  kernel matrix 1,000 x 1,000 of the 8-qubit ZZ feature map, no gradient
W6  100 random gates on 8 qubits, batch 200, the same gradients

Every program runs in an environment of its own (benchmarks/peers/requirements-*.txt; never part of the project's) and
in float32 and complex64 where its library allows: PennyLane's default.qubit computes in complex128 from float32
numbers, Qiskit in double precision. Building and the first step (compilation) are reported apart; then the programs
take turns. Times are medians of process CPU seconds and of wall seconds a step; compare only ratios of one run. Before
anything is timed, outputs and gradients are compared with dense NumPy matrices in complex128 (reference.py): a program
that differs is reported and not timed. Peak memory is the whole process's, libraries included. Marked with ~ is what
was extrapolated: Qiskit's EstimatorQNN takes 10 samples, or 1 above 4 qubits, multiplied to the whole batch; W3 it did
not finish within 100 s a sample on a busy machine. TorchQuantum-ng needs a stand-in for torchvision, see its program.

Gates, on W1: at least 5, 30 and 40 times the fastest peer (CPU seconds) at 4, 8 and 12 qubits, and under 0.5 GB.
--gate: exit code 4 if one of the sizes asked for is missed or could not be measured, or no size has a gate.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import reference
from programs import PEERS, Failed, Running, make_environment
from workloads import SIZES, Workload, workload

GATES = {4: 5.0, 8: 30.0, 12: 40.0}  # qubits of W1: times the fastest peer
MEMORY_GATE = 0.5  # GB
TURN = 0.05  # seconds of steps at a time at least, so that a short step is not one cold start


def available() -> float:
    """GB of memory that programs can still get."""
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024 / 1e9


def start(work: Workload, names: list[str], given: argparse.Namespace) -> tuple[list[Running], dict[str, Any]]:
    """The programs that are ready and right, and what became of the others."""
    ready: list[Running] = []
    rows: dict[str, Any] = {}
    expected: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workload.json"
        path.write_text(json.dumps(work))
        for name in names:
            print(f"  {name} …", file=sys.stderr, flush=True)
            try:
                running = Running(name, path, given.envs, 0.8 * available(), given.patience)
                samples = running.ready["samples"]
                if samples not in expected:
                    expected[samples] = reference.answer(work, samples)
                wrong = running.disagreement(expected[samples])
            except Failed as why:
                rows[name] = {"state": "failed", "why": str(why)}
                continue
            if wrong:
                running.stop()
                rows[name] = {"state": "wrong", "why": wrong}
            else:
                ready.append(running)
    return ready, rows


def measure(work: Workload, names: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Rows of the table by name."""
    ready, rows = start(work, names, given)
    for turn in range(given.rounds + 1):
        for running in list(ready):
            if sum(running.wall) * running.count > given.budget:
                continue
            try:
                running.step()
            except Failed as why:
                rows[running.name] = {"state": "failed", "why": str(why)}
                ready.remove(running)
                continue
            if turn == 0:  # one step, not counted unless it was long: how many fill a turn
                running.count = min(1000, math.ceil(TURN / running.wall[0]))
                if running.wall[0] < given.budget:
                    running.cpu, running.wall = [], []
    batch = len(work["inputs"])
    for running in ready:
        running.stop()
        factor = batch / running.ready["samples"]
        rows[running.name] = {
            "state": "measured",
            "cpu": statistics.median(running.cpu) * factor,
            "wall": statistics.median(running.wall) * factor,
            "peak": running.peak,
            "turns": len(running.cpu),
            "steps_a_turn": running.count,
            "extrapolated": factor,
            **{key: running.ready[key] for key in ("compile_cpu", "compile_wall", "samples", "version")},
        }
    measured = {name: row for name, row in rows.items() if row["state"] == "measured"}
    if measured:
        unit = measured.get("dopant") or min(measured.values(), key=lambda row: row["cpu"])
        for row in measured.values():
            row["ratio"] = row["cpu"] / unit["cpu"]
    return rows


def show(work: Workload, rows: dict[str, Any]) -> None:
    unit = "dopant" if rows.get("dopant", {}).get("state") == "measured" else "fastest"
    print(f"\n{work['name']}, {work['qubits']} qubits, batch {len(work['inputs'])}, {len(work['gates'])} gates")
    print(
        f"  {'':<24} {'CPU ms':>11} {'wall ms':>11} {'x ' + unit:>10} {'peak GB':>8} {'first CPU s':>12} {'turns':>9}"
    )
    order = sorted(rows, key=lambda name: rows[name].get("cpu", math.inf))
    for name in order:
        row = rows[name]
        if row["state"] != "measured":
            print(f"  {name:<24} {row['state']}: {row['why']}")
            continue
        mark = "~" if row["extrapolated"] != 1 else ""
        cpu, wall = (f"{mark}{1e3 * row[key]:.2f}" for key in ("cpu", "wall"))
        turns = f"{row['turns']}x{row['steps_a_turn']}"
        print(
            f"  {name:<24} {cpu:>11} {wall:>11} {mark + format(row['ratio'], '.2f'):>10} {row['peak']:>8.2f}"
            f" {row['compile_cpu']:>12.2f} {turns:>9}"
        )
    sys.stdout.flush()


def gates(qubits: int, rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The gates on W1 at this size: label, value, bound, kept. What was not measured is not kept."""
    if qubits not in GATES:
        return []
    ours = rows.get("dopant", {"state": "not asked for"})
    if ours["state"] != "measured":
        label = f"{qubits} qubits, dopant {ours['state']}, times the fastest peer"
        return [{"label": label, "value": 0.0, "bound": GATES[qubits], "kept": False}]
    others = {
        name: row["cpu"]
        for name, row in rows.items()
        if name != "dopant" and row["state"] == "measured" and row["extrapolated"] == 1
    }
    fastest = min(others, key=others.__getitem__, default="none measured")
    ratio = others[fastest] / ours["cpu"] if others else 0.0
    label = f"{qubits} qubits, times the fastest peer ({fastest} of {len(others)})"
    memory = f"{qubits} qubits, peak GB, less than"
    return [
        {"label": label, "value": ratio, "bound": GATES[qubits], "kept": ratio >= GATES[qubits]},
        {"label": memory, "value": ours["peak"], "bound": MEMORY_GATE, "kept": ours["peak"] < MEMORY_GATE},
    ]


def sizes(text: str) -> list[int]:
    """ "2-4,8" -> [2, 3, 4, 8]"""
    parts = [part.partition("-") for part in text.split(",")]
    return [n for low, _, high in parts for n in range(int(low), int(high or low) + 1)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=SIZES, default="W1")
    parser.add_argument("--qubits", type=sizes, help="such as 4,8,12 or 2-14; default: 4,8,12 for W1, else its own")
    parser.add_argument("--peers", default="all", help=f"all, or some of {','.join(PEERS)}")
    parser.add_argument("--envs", type=Path, default=Path("build/peers"), help="folder of the peers' environments")
    parser.add_argument("--make-envs", action="store_true", help="make the environments of --peers there and end")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=float, default=20, help="seconds of steps a program and size, then no more")
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait for a program's answer")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--gate", action="store_true", help="exit code 4 if a gate is missed")
    given = parser.parse_args()
    given.names = list(PEERS) if given.peers == "all" else given.peers.split(",")
    unknown = [name for name in given.names if name not in PEERS]
    if unknown:
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    given.qubits = given.qubits or ([4, 8, 12] if given.workload == "W1" else list(SIZES[given.workload]))
    wrong = [n for n in given.qubits if n not in SIZES[given.workload]]
    if wrong:
        parser.error(f"{given.workload} comes with {list(SIZES[given.workload])} qubits, not {wrong}")
    return given


def main() -> int:
    given = arguments()
    if given.make_envs:
        for environment in dict.fromkeys(PEERS[name].environment for name in given.names):
            if environment:
                print(f"making {given.envs / environment}", flush=True)
                make_environment(environment, given.envs)
        return 0
    load = os.getloadavg()[0]
    print(f"Load {load:.1f} on {os.cpu_count()} processors before the start; {platform.python_version()}.")
    runs, judged, lost = [], [], {}
    for qubits in given.qubits:
        work = workload(given.workload, qubits)
        names = [name for name in given.names if name not in lost]
        rows = measure(work, names, given)
        rows |= {name: {"state": "left out", "why": f"failed at {n} qubits"} for name, n in lost.items()}
        # what did not fit or took too long will not do better with more qubits
        lost |= {name: qubits for name, row in rows.items() if row["state"] == "failed"}
        show(work, rows)
        if given.workload == "W1":
            judged += gates(qubits, rows)
        runs.append({"workload": given.workload, "qubits": qubits, "batch": len(work["inputs"]), "programs": rows})
    for gate in judged:
        print(f"gate: {gate['label']} {gate['value']:.2f}, {gate['bound']}: {'kept' if gate['kept'] else 'missed'}")
    if given.gate and not judged:
        print("gate: there is none on these sizes")
    if given.json:
        head = {"load": load, "processors": os.cpu_count(), "machine": platform.machine()}
        given.json.write_text(json.dumps({**head, "runs": runs, "gates": judged}, indent=1) + "\n")
    return 4 if given.gate and not (judged and all(gate["kept"] for gate in judged)) else 0


if __name__ == "__main__":
    sys.exit(main())

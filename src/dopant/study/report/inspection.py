"""What `dopant inspect` prints: lines and not a table, so that names are readable whole on any terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from ...memory import show_bytes


def slot_lines(rows: Sequence[dict[str, Any]], *, reasons: bool) -> Iterator[str]:
    """Two or more lines a slot. reasons: also why the other components do not fit."""
    for row in rows:
        what = f"{row['inputs']} -> {row['outputs']}" if row["inputs"] is not None else "several shapes"
        what = what if row["calls"] else "never called"
        calls = f", {row['calls']} calls" if row["calls"] > 1 else ""
        flops = f", {row['flops']:,.0f} FLOPs a sample" if row["flops"] else ""
        also = f" (also {', '.join(row['also'])})" if row["also"] else ""
        yield f"{row['slot']}{also}: {row['module']}, {what}{calls}, {row['parameters']:,} parameters{flops}"
        if row["problem"]:
            yield f"    {row['problem']}"
        elif row["calls"]:
            yield f"    fits: {', '.join(row['fits']) or 'nothing that is registered'}"
        if reasons and not row["problem"]:
            for call in row["signature"]:
                yield f"    takes {call['inputs']}, gives {call['outputs']}"
            for name, reason in row["does_not_fit"].items():
                yield f"    not {name}: {reason}"
    if not reasons:
        yield "--why, or --slot NAME, says for every other component why it does not fit"


def cell_lines(cells: Sequence[Any]) -> Iterator[str]:
    """A line or two a cell of what its dry step took."""
    if cells:
        yield ""
        yield "one dry step of each cell:"
    for row in cells:
        flops = f", {row.flops:,.0f} FLOPs a sample" if row.flops is not None else ""
        yield f"{row.cell}: {row.parameters:,} parameters{flops}"
        steps = (
            f"{1000 * row.step_seconds:.1f} ms a step, {1000 * row.evaluation_seconds:.1f} ms a batch of evaluation"
            if math.isfinite(row.step_seconds)
            else "no step was taken: it does not fit"
        )
        measured = f", measured {show_bytes(row.measured)}" if row.measured is not None else ""
        if row.measured == 0:
            measured = ", measured no more than the cells before had taken"
        yield f"    {steps}; memory estimated {show_bytes(row.memory)} ({row.how}){measured}"


def dimension_lines(rows: Sequence[Any]) -> Iterator[str]:
    """A line for each component in each slot: trainable numbers beside effective dimension."""
    if rows:
        yield ""
        yield "effective dimension (rank of the outputs' Jacobian in the parameters), beside trainable numbers:"
    for row in rows:
        if row.rank is None:
            yield f"{row.slot}={row.component}: {row.parameters:,} parameters, not measured: {row.skipped}"
            continue
        rank = f"{row.rank:,}" if row.exact else f"at least {row.rank:,}"
        yield f"{row.slot}={row.component}: {rank} of {row.parameters:,}, at {row.samples} training inputs"


def gradient_lines(rows: Sequence[Any]) -> Iterator[str]:
    """Lines for each circuit of each cell: its gradients at random starts."""
    if rows:
        yield ""
        yield "gradients of the circuits at random starts (of the circuit by itself, not of the trained network):"
    for row in rows:
        p = row.probe
        name = f"{row.cell}, {p.slot}: {p.qubits} qubits, {p.weights} weights"
        if p.skipped:
            yield f"{name}: not measured, {p.skipped}"
        elif p.variance is None:
            yield f"{name}: no weight moves an output, at {p.starts} starts"
        else:
            idle = f", {p.idle} weights without effect" if p.idle else ""
            yield f"{name}{idle}"
            yield (
                f"    variance of a derivative {p.variance:.3g} ({p.lowest:.3g} to {p.highest:.3g} by weight), "
                f"{p.ratio:.3g} times that of a deep random circuit, at {p.starts} starts"
            )


def forecast_lines(whole: Any) -> Iterator[str]:
    """The forecast of a study in sentences."""
    if whole is None:
        return
    yield ""
    yield (
        f"{whole.trials} of {whole.planned} trials are still to run: about {duration(whole.seconds)}, if "
        f"{whole.assumption}"
    )
    if whole.tuning:
        yield f"{whole.tuning} of the {whole.planned} trials are for tuning"
    yield f"disk: {show_bytes(whole.disk)} will be written, {show_bytes(whole.disk_free)} are free"
    yield (
        f"memory: {show_bytes(whole.worker_memory)} a worker at most, {show_bytes(whole.memory_available)} available on"
        f" {whole.device}: room for {whole.workers_that_fit} workers"
    )
    for problem in whole.problems:
        yield f"does not fit: {problem}"


def duration(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if not math.isfinite(seconds):
        return "no telling how long"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"

"""What leaves a study for other tools: the trained circuits of its models as OpenQASM 3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, StoreError, UnknownName
from .answer import write_text

if TYPE_CHECKING:
    from .results import StudyAnswer


def export_qasm(answer: StudyAnswer, trial: str | None = None, out: Path | None = None, host: Any = None) -> list[Path]:
    """Write OUT/TRIAL/MODULE.qasm for every CircuitLayer of every finished trial (or of one); returns the paths.

    out: default `qasm` in the study's folder. Weights are the trained ones of `answer.model`, as numbers; column k of
    the layer's input is the input `x_k`. Each text begins with where it came from and what the layer measures, and
    ends with a measurement where that is one of the computational basis.
    Raises UnknownName for no trial of the study, StoreError for one that is not finished, ConfigError where no model
    has a circuit and, once the others are written, for circuits that have no form in OpenQASM.
    """
    trials: Any = answer.trials.drop_duplicates("trial")
    if trial is not None:
        if trial not in set(trials["trial"]):
            raise UnknownName("trial", trial, list(trials["trial"]))
        trials = trials[trials["trial"] == trial]
        status = trials["status"].iloc[0]
        if status != "done":
            raise StoreError(f"trial {trial} has no trained circuit: it is {status}")
    trials = trials[trials["status"] == "done"]
    if not len(trials):
        raise StoreError(f"no trial of {str(answer.folder)!r} is finished; `dopant run` goes on with it")
    folder = out or answer.folder / "qasm"
    written: list[Path] = []
    problems: list[str] = []
    for row in trials.to_dict("records"):
        for name, layer in _circuits(answer.model(row["trial"], host)):
            where = f"trial {row['trial']} ({row['cell']}, replicate {row['replicate']}), module {name!r}"
            try:
                text = _text(layer, where)
            except ConfigError as error:
                problems += [f"{where}: {problem}" for problem in error.problems]
                continue
            target = folder / row["trial"] / f"{name}.qasm"
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make {str(target.parent)!r}: {error.strerror}") from error
            write_text(target, text)
            written.append(target)
    if problems:
        raise ConfigError([*problems, f"the other circuits are written: {len(written)} below {str(folder)!r}"])
    if not written:
        asked = f"trial {trial}" if trial else f"any of the {len(trials)} finished trials"
        raise ConfigError(f"no circuit in the model of {asked}: OpenQASM is written of layers made by Circuit.layer(…)")
    return written


def _circuits(model: Any) -> list[tuple[str, Any]]:
    from ..quantum import CircuitLayer

    return [(name or "model", m) for name, m in model.named_modules() if isinstance(m, CircuitLayer)]


def _text(layer: Any, where: str) -> str:
    circuit = layer.circuit
    measured = layer.measured
    lines = [f"// {where}", f"// x_k is column k of the layer's input; it measures {measured.words}"]
    if layer.noise is not None:
        lines.append("// it was trained with noise, which is no part of this text")
    text = circuit.to_qasm(weights=layer.weights.detach().double())
    if measured.kind in ("probabilities", "states") or measured.diagonal:
        text += f"bit[{circuit.qubits}] c;\nc = measure q;\n"
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n" + text

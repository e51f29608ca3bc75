"""`dopant inspect --dimension`: trainable numbers beside the directions in which they move the outputs."""

import json
import subprocess
import sys

import dopant as dp
from dopant.study.dimensions import dimensions
from dopant.study.report.inspection import dimension_lines


def study(**changes):
    design = dp.Factorial(
        {"name": "creep-cnn", "size": 8},
        {
            "conv": {"classical": {}, "same": {"conv1": "psd-conv"}, "circuit": {"conv1": "flipped-quanv"}},
            "bias": {"zero": {"head": {"component": "linear", "bias_init": "zero"}}, "old": {}},
        },
    )
    return dp.Study(design, data="digits", controls=False, **changes)


def test_circuit_and_its_classical_parametrisation_have_the_same_dimension_beside_different_counts():
    rows = {row.component: row for row in dimensions(study(), most=512, samples=40)}
    assert set(rows) == {"psd-conv", "flipped-quanv", "linear"}  # starts of the bias are no other component
    # 32 kernels of five free dimensions and 32 biases, of 15 and 8 numbers a kernel
    assert [(rows[n].rank, rows[n].parameters) for n in ("flipped-quanv", "psd-conv")] == [(192, 512), (192, 288)]
    assert rows["flipped-quanv"].exact and rows["flipped-quanv"].slot == "conv1"


def test_more_directions_than_were_looked_for_are_told_as_at_least():
    assert not dimensions(study(), most=64, samples=40)[0].exact


def test_the_command_line_lists_them_for_programs(tmp_path):
    design = dp.Factorial({"name": "mlp", "hidden": [8], "activation": "tanh"}, {"head": ["linear"]})
    dp.Study(design, data="digits", controls=False).save(tmp_path / "s.toml")
    command = [sys.executable, "-m", "dopant", "inspect", str(tmp_path / "s.toml"), "--dimension", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    told = json.loads(result.stdout)["dimensions"]
    assert [(d["slot"], d["component"], d["rank"], d["parameters"]) for d in told] == [("head", "linear", 90, 90)]


def test_what_is_cheap_is_told_unasked_and_what_is_not_says_what_it_would_take():
    rows = {row.component: row for row in dimensions(study(), work=1e10)}
    assert (rows["flipped-quanv"].rank, rows["flipped-quanv"].parameters) == (192, 512)
    few = dimensions(study(), work=1e6)
    assert {row.rank for row in few} == {None} and all("would take" in row.skipped for row in few)
    assert any(line.endswith("--dimension does it") for line in dimension_lines(few))

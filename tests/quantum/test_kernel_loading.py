"""Whether the compiled kernel is used, where it is kept, and what happens where it cannot be had."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import dopant
from dopant.errors import ConfigError
from dopant.quantum import Circuit, feature, weight
from dopant.quantum.kernel import loading

CIRCUIT = Circuit(3).ry(0, feature(0)).cx(0, 1).rot(1, weight(), weight(), weight()).crz(1, 2, weight())
X = torch.randn(4, 1)


def in_another_process(before: str) -> subprocess.CompletedProcess[str]:
    """`before`, then a step of a layer there; prints the path and whether its values are those of the torch path."""
    code = f"""
import sys, torch
{before}
from dopant.quantum import Circuit, feature, weight
from dopant.quantum.kernel import loading
loading.wait()
circuit = Circuit(3).ry(0, feature(0)).cx(0, 1).rot(1, weight(), weight(), weight()).crz(1, 2, weight())
layer, x = circuit.layer(), torch.randn(4, 1)
out = layer(x)
out.sum().backward()
exact = circuit.layer(path="torch")
exact.load_state_dict(layer.state_dict())
print(layer.runner.chosen(x), torch.allclose(out, exact(x), atol=1e-6), loading.refused())
if loading._state["module"] is not None:
    from dopant.quantum.kernel import calls, engine, passes
    made = {{id(f): f for m in (calls, engine, passes) for f in vars(m).values() if hasattr(f, "stats")}}.values()
    print(sum(sum(f.stats.cache_hits.values()) for f in made), sum(sum(f.stats.cache_misses.values()) for f in made))
"""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True
    )


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no"])
def test_dopant_kernel_off_leaves_the_work_to_torch(monkeypatch, word):
    monkeypatch.setenv("DOPANT_KERNEL", word)
    layer = CIRCUIT.layer()
    assert layer.runner.chosen(X) == "torch" and layer.runner.reason == "DOPANT_KERNEL is off"
    assert layer(X).shape == (4, 3)
    with pytest.raises(ConfigError, match="path='kernel': DOPANT_KERNEL is off; path='auto' uses torch"):
        CIRCUIT.layer(path="kernel")


def test_where_numba_cannot_be_imported_torch_does_the_work_and_says_why():
    found = in_another_process("sys.modules['numba'] = None")
    path, same, *reason = found.stdout.split()
    assert (path, same) == ("torch", "True") and " ".join(reason).startswith(
        "Numba: ModuleNotFoundError: import of numba"
    )
    assert "Traceback" not in found.stderr


def test_where_numba_is_not_installed_torch_does_the_work(monkeypatch):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(loading, "_ready", set())
    monkeypatch.setitem(loading._state, "refused", None)
    monkeypatch.setattr(importlib.metadata, "version", missing)
    layer = CIRCUIT.layer()
    assert layer(X).shape == (4, 3) and layer.runner.chosen(X) == "torch"
    assert loading.refused() == "Numba is not installed"


def test_a_second_process_loads_the_kernel_and_compiles_nothing():
    assert CIRCUIT.layer(path="kernel")(X).shape == (4, 3)  # now it is compiled, whoever did it
    found = in_another_process("")
    (path, same, _), (hits, misses) = (line.split() for line in found.stdout.splitlines())
    assert (path, same) == ("kernel", "True") and "compiling" not in found.stderr
    assert int(hits) > 0 and int(misses) == 0


def test_compiled_code_lies_in_the_cache_and_not_beside_the_source(monkeypatch):
    CIRCUIT.layer(path="kernel")(X)
    assert list(loading.folder().rglob("*.nbc"))
    source = Path(dopant.__file__).parent
    assert [p for p in source.rglob("*") if p.suffix in (".nbi", ".nbc")] == []
    monkeypatch.setenv("DOPANT_CACHE", "/somewhere")
    assert loading.folder() == Path("/somewhere/kernel")
    monkeypatch.delenv("DOPANT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert loading.folder() == Path("/caches/dopant/kernel")


def test_while_it_is_compiled_in_the_background_torch_answers(monkeypatch, tmp_path):
    done, ready = threading.Event(), loading._ready
    if torch.float32 not in ready:
        loading.ready(torch.float32)

    def compiled(dtype: torch.dtype, known: bool) -> None:
        assert not known and done.wait(60)
        loading._ready.add(dtype)

    monkeypatch.setenv("DOPANT_CACHE", str(tmp_path))
    monkeypatch.setattr(loading, "_ready", set())
    monkeypatch.setattr(loading, "_started", {})
    monkeypatch.setitem(loading._state, "wait", False)
    monkeypatch.setattr(loading, "_prepare", compiled)
    layer = CIRCUIT.layer()
    first = layer(X)
    assert layer.runner.chosen(X) == "torch" and list(loading._started) == [torch.float32]
    done.set()
    loading._started[torch.float32].join()
    assert layer.runner.chosen(X) == "kernel" and torch.allclose(layer(X), first, atol=1e-6)


def test_compiled_files_lie_in_a_folder_of_their_sources_version():
    # Numba looks at the file of a function and not at those it calls: an upgrade must not find the old kernel
    import dopant.quantum.kernel as kernel
    from dopant.quantum.kernel import loading

    assert loading.ready(torch.float32, wait=True)
    cached = loading.module().calls.forward._cache._cache_path
    assert f"{kernel.engine_sources()}" in cached.split("/")

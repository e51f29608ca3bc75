"""TensorCircuit-NG: `jax` (jit of value and gradient), `jax-torch` (that function in torch's autograd), `torch` (vmap).

<Z> comes from the squared amplitudes and a table of signs: tried against expectation_ps of every qubit, it compiles
and runs faster.
"""

from __future__ import annotations

import os
from typing import Any

# one thread: read when JAX starts
os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"

import tensorcircuit as tc
from serve import Program, arrays, serve, signs

NAMES = {"sdg": "sd", "tdg": "td", "p": "phase", "cx": "cnot"}


def circuit(work: dict[str, Any], inputs: Any, weights: Any) -> Any:
    """One sample's circuit: inputs (features,), weights (weights,)."""
    found = tc.Circuit(work["qubits"])
    for name, qubits, angles in work["gates"]:
        values = [
            a if not isinstance(a, list) else inputs[a[1]] if a[0] == "feature" else weights[a[1]] for a in angles
        ]
        if name == "rot":
            found.u(*qubits, theta=values[1], phi=values[2], lbd=values[0])
        else:
            getattr(found, NAMES.get(name, name))(*qubits, **({"theta": values[0]} if values else {}))
    return found


def make(work: dict[str, Any], variant: str) -> Program:
    backend = tc.set_backend("pytorch" if variant == "torch" else "jax")
    tc.set_dtype("complex64")
    table = signs(work["qubits"])

    def state(inputs: Any, weights: Any) -> Any:
        return circuit(work, inputs, weights).state()

    if variant == "torch":
        import torch
        from torch_step import gradient_step, kernel_step

        if work["kind"] == "kernel":
            one = torch.func.vmap(lambda inputs: state(inputs, None))
            return Program(kernel_step(work, one), tc.__version__)
        batch = torch.func.vmap(state, in_dims=(0, None))
        z = torch.from_numpy(table)
        return Program(
            gradient_step(work, lambda inputs, weights: batch(inputs, weights).abs().square() @ z), tc.__version__
        )

    import jax
    import jax.numpy as jnp

    inputs, weights, cotangent = (jnp.asarray(a) for a in arrays(work))

    def outputs(inputs: Any, weights: Any) -> Any:
        amplitudes = backend.vmap(state, vectorized_argnums=0)(inputs, weights)
        return (amplitudes.real**2 + amplitudes.imag**2) @ table

    if work["kind"] == "kernel":

        @jax.jit
        def kernel(inputs: Any) -> Any:
            found = backend.vmap(state, vectorized_argnums=0)(inputs, weights)
            return jnp.abs(found @ found.conj().T) ** 2

        if variant == "jax-torch":
            raise SystemExit("differs from tensorcircuit-jax in gradients only, and a kernel has none")
        return Program(lambda: (kernel(inputs).block_until_ready(),), tc.__version__)

    if variant == "jax-torch":
        from tensorcircuit.interfaces import torch_interface
        from torch_step import gradient_step

        return Program(gradient_step(work, torch_interface(outputs, jit=True)), tc.__version__)

    def loss(inputs: Any, weights: Any) -> Any:
        found = outputs(inputs, weights)
        return (found * cotangent).sum(), found

    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def step() -> tuple[Any, ...]:
        (_, found), (d_inputs, d_weights) = jax.block_until_ready(both(inputs, weights))
        return found, d_inputs, d_weights

    return Program(step, tc.__version__)


serve(make)

"""Circuits as OpenQASM text, and text as circuits.

Writing: `to_qasm`, rooms `_qasm_out` and `_cosine_sine`. Reading: `from_qasm`, rooms `_qasm_in` (statements),
`_qasm_text` (words and expressions) and `_qasm_gates` (what the names mean). A text that was written here and read
again gives the same state, global phase and all.
"""

from __future__ import annotations

from ._qasm_in import from_qasm as from_qasm
from ._qasm_out import to_qasm as to_qasm

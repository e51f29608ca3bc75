"""Let the Quantum Creep In (Wang, Myers, Hollenberg, Parampalli 2024, arXiv 2409.17583): the founding study."""

from __future__ import annotations

from pathlib import Path

from ..paper import Counterpart, Paper, register
from .cells import COUNTERPARTS, DATA, study
from .remarks import remarks

PAPER = register(
    Paper(
        name="quantum-creep",
        title="Let the Quantum Creep In: classical layers of a small network give way to quantum circuits, one by one",
        source="Wang et al. 2024, arXiv 2409.17583; github.com/peiyong-addwater/Let-The-Quantum-Creep-In at 8feb80b",
        folder=Path(__file__).parent,
        data=DATA,
        study=study,
        counterparts={cell: Counterpart(*place) for cell, place in COUNTERPARTS.items()},
        remarks=remarks,
        page="python -m dopant.papers.quantum_creep.page",
    )
)

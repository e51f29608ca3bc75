"""The published cells as one study: a list of cells, each with the recipe of the version that it belongs to."""

from __future__ import annotations

from typing import Any

DATA: dict[str, str | None] = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "digits": None,
}
"""Our data sets, and what the published files call them. `digits` has no published numbers: it is for a smoke run."""

LEVEL_0 = "level 0"
LEVEL_1 = "level 1 (torch, as published)"
LEVEL_2 = "level 2 (torch, as published)"
REAL = "level 2, real parameters"
EQUINOX = "level 2 (Equinox)"

COUNTERPARTS: dict[str, tuple[str, int, bool]] = {
    LEVEL_0: ("torch", 0, True),
    LEVEL_1: ("torch", 1, True),
    LEVEL_2: ("torch", 2, True),
    REAL: ("torch", 2, False),  # nobody published a circuit under this recipe
    EQUINOX: ("equinox", 2, True),
}
"""{cell: (published version, level, whether it was published of this very cell)}."""

REPLICATES, EPOCHS = 5, 50
QUICK_IMAGES, QUICK_REPS = 150, 2


def cells(data: str, reps: int = 10) -> dict[str, dict[str, Any]]:
    """{cell: {slot: component, "recipe.lr": …}}; what a cell does not say is the torch version's recipe.

    Images of 32x32 take seven qubits, as published; the 8x8 digits take the fewest that hold them, four.
    """
    head: dict[str, Any] = {"component": "reupload-linear", "reps": reps}
    if data != "digits":
        head["qubits"] = 7
    convolution = {"component": "flipped-quanv"}

    def with_parameters(kind: str) -> dict[str, Any]:
        return {
            "conv1": {**convolution, "parameters": kind},
            "conv2": {**convolution, "parameters": kind},
            "head": {**head, "parameters": kind},
        }

    published, real = with_parameters("complex"), with_parameters("real")
    equinox = {"recipe.lr": 5e-3, "recipe.batch": 500 if data == "cifar10" else 1000}
    return {
        LEVEL_0: {},
        LEVEL_1: {slot: published[slot] for slot in ("conv1", "conv2")},
        LEVEL_2: published,
        REAL: real,
        EQUINOX: {**real, **equinox},
    }


def study(data: str, quick: bool = False) -> Any:
    """The dp.Study of the published cells on one of our data sets.

    All training images train and the test set is read every epoch, as published; where there is no official test set
    (digits) the usual protocol holds. Every cell trains for 50 epochs, as the torch version was published; the Equinox
    version was published at 100 and is compared at the last epoch that both have. quick: few training and test images,
    2 repetitions in the head instead of 10, two epochs, one replicate.
    """
    from ...designs import Factorial
    from ...recipe import Recipe
    from ...study.config import Study

    limits = {"limit": QUICK_IMAGES, "test_limit": QUICK_IMAGES} if quick and data != "digits" else {}
    return Study(
        design=Factorial("creep-cnn", {"cell": cells(data, QUICK_REPS if quick else 10)}),
        data={"name": data, **limits},
        recipe=Recipe(optimizer="adam", lr=5e-4, batch=200, epochs=2 if quick else EPOCHS),
        replicates=1 if quick else REPLICATES,
        controls=False,
        protocol=None if data == "digits" else "published",
        name=f"quantum-creep-{data}" + ("-quick" if quick else ""),
    )

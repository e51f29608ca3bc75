"""Texts of users' files."""

HEADER = "from torch import nn\nimport dopant as dp\n\n"


def linear(name: str, built: str = "nn.Linear(old.in_features, old.out_features)") -> str:
    """A component that obeys every law, or that builds something else."""
    return f"@dp.component({name!r}, fills=nn.Linear)\ndef make(old, signature):\n    'A map.'\n    return {built}\n"

"""Which charts of scores an answer has: each design has its own."""

from __future__ import annotations

from typing import Any

from . import arms, factorial, interactions, ladder, mixing
from .scores import Chart


def charts(answer: Any) -> list[Chart]:
    """Those with something to show, in the order of the page."""
    makers = (ladder.chart, factorial.chart, interactions.chart, interactions.shapley, mixing.chart, arms.chart)
    return [made for make in makers if (made := make(answer)) is not None]

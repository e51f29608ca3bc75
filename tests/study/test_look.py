"""The rows of `dopant inspect`: one a slot, with what fits and why the rest does not."""

from __future__ import annotations

import json
import time

import torch
from torch import nn

import dopant as dp
from dopant import _swap
from dopant.study import look


class Stack(nn.Module):
    """Forty equal layers, one of them under two names, one that is never called, one called twice."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(40))
        self.again = self.layers[3]
        self.unused = nn.Linear(2, 2)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(self.norm(x)))


def rows_of(host) -> dict:
    asked = dp.Study(dp.Ladder(host).level(head="frozen"), data="digits", recipe=dp.Recipe(batch=20))
    rows = look.look(asked)
    json.dumps(rows)
    return {row["slot"]: row for row in rows}


def test_rows_say_names_signature_flops_and_reasons():
    rows = rows_of("creep-cnn")
    head = rows["head"]
    assert (head["inputs"], head["outputs"], head["calls"], head["also"]) == ((256,), (10,), 1, [])
    assert head["signature"] == [{"inputs": "float32(batch, 256)", "outputs": "float32(batch, 10)"}]
    assert head["flops"] == 2 * 256 * 10 and rows["conv1"]["flops"] == 2 * 32 * 9 * 36  # a multiply-add is two
    assert "flipped-quanv" in rows["conv1"]["fits"] and head["problem"] is None
    assert "Conv2d" in head["does_not_fit"]["flipped-quanv"]
    names = {info.name for info in dp.list_components()}
    assert all(set(row["fits"]) | set(row["does_not_fit"]) == names for row in rows.values())


def test_equal_slots_share_their_answer_and_every_reason_names_its_own_slot(monkeypatch):
    asked = []
    monkeypatch.setattr(look, "why_not", lambda info, *a: asked.append(info.name) or _swap.why_not(info, *a))
    start = time.process_time()
    rows = rows_of(Stack())
    assert time.process_time() - start < 20
    kinds = 6  # the list, an equal layer, the unused one, the norm, the head, … each asked once
    assert len(asked) <= kinds * len(dp.list_components()) and len(rows) == 44
    assert rows["layers.3"]["also"] == ["again"] and "again" not in rows
    assert rows["layers.0"]["fits"] == rows["layers.39"]["fits"] != []
    assert "never called" in rows["unused"]["problem"]
    assert all("'unused'" in reason for reason in rows["unused"]["does_not_fit"].values())
    assert rows["norm"]["calls"] == 2


def test_the_model_and_the_generators_stay_as_they_were():
    host = Stack()
    before, state = [p.clone() for p in host.parameters()], torch.get_rng_state()
    rows_of(host)
    assert all(torch.equal(a, b) for a, b in zip(before, host.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)

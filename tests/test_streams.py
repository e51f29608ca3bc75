"""Random numbers are a function of (seed, replicate, name, step), and of nothing else."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from dopant.streams import Streams, default_generators, mix, name_key, seed_default


def test_streams_that_differ_in_any_part_differ_pairwise():
    keys = [
        Streams(seed, replicate).key(name, step)
        for seed in range(4)
        for replicate in (-2, -1, 0, 1, 2)
        for name in ("host", "slot:fc", "slot:fc2", "split", "order")
        for step in range(20)
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)


def test_parts_of_a_name_do_not_run_together():
    assert name_key("a", "bc") != name_key("ab", "c")
    assert name_key(1, 23) != name_key(12, 3)
    assert name_key(1) != name_key("1")


def test_streams_draw_different_numbers_without_correlation():
    draws = torch.stack([torch.randn(4000, generator=Streams(0).generator("noise", step)) for step in range(20)])
    correlation = torch.corrcoef(draws) - torch.eye(20)
    # The largest of 190 correlations of independent normals; 5 standard errors of 1/sqrt(4000).
    assert correlation.abs().max() < 5 / 4000**0.5


def test_a_stream_is_the_same_in_another_process_and_after_other_draws():
    here = Streams(7, 3).key("slot:fc", 12)
    torch.randn(100)
    assert Streams(7, 3).key("slot:fc", 12) == here
    code = "from dopant.streams import Streams; print(Streams(7, 3).key('slot:fc', 12))"
    environment = {"PYTHONHASHSEED": "99", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(out.stdout) == here


def test_a_stream_has_a_known_start():
    """Published studies depend on these numbers; a change of the hash must show."""
    digest = hashlib.blake2b(b"str:host", digest_size=8).digest()
    assert name_key("host") == int.from_bytes(digest, "little")
    # splitmix64 of the reference implementation (Steele, Lea, Flood 2014; seed 1234567).
    assert [mix(1234567, k) for k in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_seeded_starts_all_default_generators_and_restores_them():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.randn(3), np.random.rand(3), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    draws = []
    for _ in range(2):
        with Streams(0).seeded("host"):
            draws.append((torch.randn(3).tolist(), np.random.rand(3).tolist(), random.random()))
    assert draws[0] == draws[1]
    assert torch.equal(torch.randn(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]


def test_generators_are_restored_after_an_exception():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), default_generators(5):
        torch.randn(3)
        raise RuntimeError
    assert torch.equal(state, torch.get_rng_state())


def test_without_a_key_draws_go_on_from_the_present_state():
    torch.manual_seed(2)
    expected = torch.randn(3)
    torch.manual_seed(2)
    with default_generators():
        assert torch.equal(torch.randn(3), expected)
    assert torch.equal(torch.randn(3), expected)


def test_seeding_the_default_generator_is_seeding_by_key():
    with default_generators():
        seed_default(2**63 + 5)
        first = torch.randn(3)
        torch.manual_seed(5)
        assert torch.equal(first, torch.randn(3))


def test_numpy_and_torch_streams_start_anew_each_time():
    streams = Streams(0, 1)
    assert streams.numpy("split").integers(1 << 40) == streams.numpy("split").integers(1 << 40)
    assert streams.numpy("split").integers(1 << 40) != streams.numpy("split", 1).integers(1 << 40)
    a, b = (torch.rand(2, generator=streams.generator("order", 4)) for _ in range(2))
    assert torch.equal(a, b)

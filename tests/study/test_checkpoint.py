"""States come back to the bit, and damage is seen."""

import json
import math
import struct

import numpy as np
import pytest
import torch
import toy_task
from hypothesis import given, settings
from hypothesis import strategies as st

from dopant.study import checkpoint
from dopant.study.folder import Damaged, TrialFolder, loads
from dopant.study.keeper import Keeper


def same(one, other):
    """Equal in value, type and bits."""
    if isinstance(one, torch.Tensor):
        one, other = one.resolve_conj().contiguous(), other.contiguous()
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.reshape(-1).view(torch.uint8).equal(other.reshape(-1).view(torch.uint8))
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(type(a) is type(b) for a, b in zip(one, other, strict=True)) and all(
            same(one[k], other[k]) for k in one
        )  # fmt: skip
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    return one == other


def round_trip(folder, state):
    checkpoint.write(folder, 1, state)
    return checkpoint.read(folder, 1)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
          torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (5, 3)], ids=str)
def test_tensors_of_every_kind_and_shape_come_back(tmp_path, dtype, shape):
    tensor = (torch.randn(shape, dtype=torch.complex128) * 10).to(dtype) if dtype.is_complex else (
        torch.randn(shape, dtype=torch.float64) * 10).to(dtype)  # fmt: skip
    assert same(tensor, round_trip(tmp_path, {"x": tensor})["x"])


def test_views_shared_memory_conjugates_and_parameters_come_back(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    z = torch.randn(3, dtype=torch.complex64)
    state = {"transposed": base.T, "slice": base[1:3, ::2], "same": base, "again": base, "conj": z.conj(),
             "imag": z.imag, "expanded": torch.ones(1).expand(4), "neg": z.conj().imag}  # fmt: skip
    found = round_trip(tmp_path, {**state, "parameter": torch.nn.Parameter(base.clone())})
    for name, value in state.items():
        assert torch.equal(found[name], value.resolve_neg()), name
    assert torch.equal(found["parameter"], base) and not found["parameter"].requires_grad


def test_restored_tensors_can_be_written_to(tmp_path):
    found = round_trip(tmp_path, {"x": torch.zeros(3)})["x"]
    found += 1
    assert found.tolist() == [1, 1, 1]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.complex_numbers(),
    st.sampled_from(["$tensor", "$dict", "$float", "$tuple"]),
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=6), st.integers(-5, 5), st.sampled_from(["$tensor", "$float", "$dict"]), st.none())
STATES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(state=STATES)
@settings(max_examples=200, deadline=None)
def test_any_nesting_of_json_values_comes_back_with_its_types(state):
    tree, tensors = checkpoint.flatten(state)
    assert same(state, checkpoint.unflatten(loads(json.dumps(tree, allow_nan=False)), tensors))


def test_an_optimizer_state_with_integer_keys_comes_back(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.8, 0.99))
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    assert same(optimizer.state_dict(), round_trip(tmp_path, optimizer.state_dict()))


def test_numpy_arrays_come_back_as_arrays(tmp_path):
    state = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.float64(1.5), "c": np.int64(3)}
    found = round_trip(tmp_path, state)
    assert same(found["a"], np.ascontiguousarray(state["a"])) and found["b"] == 1.5 and found["c"] == 3


def test_what_cannot_be_kept_is_named_with_its_place(tmp_path):
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a set"):
        checkpoint.write(tmp_path, 1, {"a": [0, {1, 2}]})
    with pytest.raises(TypeError, match="key of type tuple"):
        checkpoint.write(tmp_path, 1, {(1, 2): 0})
    with pytest.raises(TypeError, match=r"state\['s'\] is a tensor without plain data"):
        checkpoint.write(tmp_path, 1, {"s": torch.eye(3).to_sparse()})
    assert list(tmp_path.iterdir()) == []


# --- generations and damage -----------------------------------------------------------------------------------------


def keeper_with(tmp_path, count):
    trial = toy_task.trial()
    keeper = Keeper(tmp_path, trial, 1)
    for number in range(count):
        keeper.save({"step": number, "weights": torch.full((40,), float(number))})
    return keeper


def test_the_last_two_generations_stay(tmp_path):
    keeper = keeper_with(tmp_path, 5)
    names = sorted(p.name for p in keeper.folder.iterdir())
    assert names == ["checkpoint-4.safetensors", "checkpoint-5.safetensors", "state-4.json", "state-5.json"]


def spots(size, header):
    """Bytes of each class of a file: the length field, the header or JSON, the data, the end."""
    return sorted({0, 3, 8, header // 2, header, (header + size) // 2, size - 2, size - 1} & set(range(size)))


@pytest.mark.parametrize("name", ["checkpoint-2.safetensors", "state-2.json"])
def test_a_flipped_bit_anywhere_makes_the_older_generation_count_with_a_word(tmp_path, name, caplog):
    keeper = keeper_with(tmp_path, 2)
    path = keeper.folder / name
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little") if name.endswith("safetensors") else len(whole) // 2
    places = spots(len(whole), header) if name.endswith("safetensors") else range(len(whole))
    for place in places:
        for bit in (0, 5, 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            later, words = Keeper(tmp_path, keeper.trial, 2), len(caplog.records)
            assert later.restore()["step"] == 0, (place, bit)
            assert len(later.warnings) == 1 and "used attempt-1/state-1 instead" in later.warnings[0]
            assert len(caplog.records) == words + 1
    path.write_bytes(whole)
    assert Keeper(tmp_path, keeper.trial, 2).restore()["step"] == 1


@pytest.mark.parametrize("name", ["checkpoint-2.safetensors", "state-2.json"])
def test_a_file_cut_short_or_gone_makes_the_older_generation_count(tmp_path, name):
    keeper = keeper_with(tmp_path, 2)
    path = keeper.folder / name
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:size])
        assert Keeper(tmp_path, keeper.trial, 2).restore()["step"] == 0
    path.unlink()
    assert Keeper(tmp_path, keeper.trial, 2).restore()["step"] == 0


def test_with_both_generations_damaged_the_trial_starts_again_and_says_so(tmp_path):
    keeper = keeper_with(tmp_path, 2)
    for path in keeper.folder.glob("*.safetensors"):
        path.write_bytes(b"\0" * 100)
    later = Keeper(tmp_path, keeper.trial, 2)
    assert later.restore() is None
    assert len(later.warnings) == 2 and all("starts again" in word for word in later.warnings)


def test_a_pickle_in_place_of_a_checkpoint_is_never_opened(tmp_path):
    import pickle

    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return canary.write_text, ("opened",)

    keeper = keeper_with(tmp_path, 2)
    for path in keeper.folder.iterdir():
        path.write_bytes(pickle.dumps(Bomb()))
    assert Keeper(tmp_path, keeper.trial, 2).restore() is None
    assert not canary.exists()


def test_a_later_attempt_goes_on_from_the_newest_state_and_clears_the_older_attempts(tmp_path):
    keeper = keeper_with(tmp_path, 3)
    later = Keeper(tmp_path, keeper.trial, 2)
    assert later.restore()["step"] == 2
    later.save({"step": 3})
    assert checkpoint.generations(keeper.folder) == [3, 2]  # one state here is not yet two
    later.save({"step": 4})
    assert checkpoint.generations(keeper.folder) == []
    assert checkpoint.newest(TrialFolder(tmp_path, keeper.trial.id))[0] == {"step": 4}


def test_a_scratch_file_of_a_killed_writer_is_not_a_state_and_is_cleared(tmp_path):
    keeper = keeper_with(tmp_path, 1)
    scratch = keeper.folder / ".state-2.json.host.1.tmp"
    scratch.write_bytes(b"half")
    assert Keeper(tmp_path, keeper.trial, 2).restore()["step"] == 0
    assert not scratch.exists()


def test_reading_damage_directly_names_the_file(tmp_path):
    keeper = keeper_with(tmp_path, 1)
    (keeper.folder / "checkpoint-1.safetensors").write_bytes(b"")
    with pytest.raises(Damaged, match=r"attempt-1/checkpoint-1\.safetensors: the checksum does not match"):
        checkpoint.read(keeper.folder, 1)

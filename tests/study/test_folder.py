"""Logs and sealed files: what is torn or flipped is seen, and a torn end poisons nothing that follows."""

import hashlib
import json
import math

import pytest
import toy_task

from dopant.study.folder import Damaged, TrialFolder, append_line, dumps, loads, read_lines, repair, seal, unseal


def log_with(path, count):
    for epoch in range(count):
        append_line(path, {"epoch": epoch, "train_loss": 1 / (epoch + 3), "note": "é\n"})
    return path.read_bytes()


def test_lines_come_back_with_every_float_exact(tmp_path):
    path = tmp_path / "metrics.jsonl"
    row = {"epoch": 1, "a": 0.1 + 0.2, "b": float("inf"), "c": -0.0, "d": 2**60, "e": "text"}
    append_line(path, row)
    append_line(path, {"epoch": 2, "n": float("nan")})
    rows, problems = read_lines(path)
    assert problems == [] and rows[0] == row and math.copysign(1, rows[0]["c"]) == -1 and math.isnan(rows[1]["n"])
    for line in path.read_text().splitlines():
        assert "checksum" in json.loads(line, parse_constant=pytest.fail)  # strict JSON, for other readers


def test_a_log_torn_at_any_of_its_last_200_bytes_is_readable_and_can_be_appended_to(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = log_with(path, 6)
    before = read_lines(path)[0]
    for cut in range(1, 201):
        path.write_bytes(whole[:-cut])
        rows, problems = read_lines(path)
        kept = len(rows)
        assert rows == before[:kept]
        ends = [place for place, byte in enumerate(whole) if byte == 10 and place <= len(whole) - cut]
        assert kept == len(ends)  # a line that lacks its end alone is whole
        assert len(problems) == (len(whole) - cut > ends[-1] + 1)
        append_line(path, {"epoch": 99})
        after, problems = read_lines(path)
        assert after == [*before[:kept], {"epoch": 99}] and problems == []


def test_a_flipped_bit_drops_its_line_alone_and_is_named(tmp_path):
    path = tmp_path / "attempt-1" / "metrics.jsonl"
    path.parent.mkdir()
    whole = log_with(path, 3)
    first, second, _ = (place for place, byte in enumerate(whole) if byte == 10)
    for place in range(first + 1, second):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        rows, problems = read_lines(path)
        assert [row["epoch"] for row in rows] == [0, 2], place
        assert problems and "attempt-1/metrics.jsonl line 2" in problems[0]


def test_repair_of_a_whole_or_absent_log_changes_nothing(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert repair(path) == 0 and not path.exists()
    whole = log_with(path, 2)
    assert repair(path) == 0 and path.read_bytes() == whole


def test_a_seal_refuses_any_flipped_bit():
    data = seal(dumps({"a": [1, 2], "b": "x"}, indent=1))
    assert loads(unseal(data)) == {"a": [1, 2], "b": "x"}
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(Damaged):
                unseal(bytes(damaged))


def test_a_trial_whose_description_was_edited_is_refused(tmp_path):
    trial = toy_task.trial()
    folder = TrialFolder(tmp_path, trial.id)
    folder.write_trial(trial, 3)
    assert folder.read_trial() == (trial, 3)
    path = folder.path / "trial.json"
    path.write_text(path.read_text().replace('"replicate": 0', '"replicate": 1'))
    with pytest.raises(Damaged, match="the checksum does not match"):
        folder.read_trial()
    (tmp_path / "trials" / trial.id).rename(tmp_path / "trials" / "0123456789abcdef")
    TrialFolder(tmp_path, "0123456789abcdef").write_trial(trial, 3)
    with pytest.raises(Damaged, match="the description's hash is"):
        TrialFolder(tmp_path, "0123456789abcdef").read_trial()


def test_where_attempts_overlap_the_highest_counts(tmp_path):
    folder = TrialFolder(tmp_path, "x")
    for attempt, epochs in ((1, [1, 2, 3]), (2, [3, 4]), (10, [5])):
        folder.attempt(attempt).mkdir(parents=True)
        for epoch in epochs:
            append_line(folder.attempt(attempt) / "metrics.jsonl", {"epoch": epoch, "from": attempt})
    assert [(row["epoch"], row["from"]) for row in folder.metrics()[0]] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 10)]


def test_a_log_read_at_once_is_the_one_that_was_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"epoch": i, "loss": 0.1 * i, "odd": math.inf, "text": 'a "$float" },{ ,"checksum":"0"'} for i in range(5)]
    for row in rows:
        append_line(path, row)
    assert read_lines(path) == (rows, [])
    head = b'{"epoch":9},{"epoch":10'  # two rows in one seal: no line of ours
    with open(path, "ab") as file:
        file.write(head + b',"checksum":"' + hashlib.sha256(head).hexdigest()[:16].encode() + b'"}\n')
    found, problems = read_lines(path)
    assert found == rows and len(problems) == 1

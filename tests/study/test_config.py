"""Study files: every problem at once, by its dotted path, with the nearest known name."""

from __future__ import annotations

import pytest

import dopant as dp
from dopant.errors import ConfigError
from dopant.study.config import from_tables
from dopant.study.request import parse_swap, split_options, study_of_request


def problems_of(tables) -> list[str]:
    try:
        study = from_tables(tables)
    except dp.ConfigError as error:
        return error.problems
    return study.problems()


def tables(**study):
    return {
        "study": {"host": "creep-cnn", "data": "digits", **study},
        "design": {"levels": [{"head": "reupload-linear"}]},
    }


def test_the_default_study_has_no_problem_and_nine_cells():
    study = study_of_request(None)
    assert study.problems() == []
    assert len(study.design.cells(study.controls)) == 9
    assert study.replicates == 6 and study.tuning is not None and study.tuning.replicates == 2


def test_a_study_written_and_read_again_is_the_same(tmp_path):
    study = study_of_request(None)
    study.save(tmp_path / "study.toml")
    again = dp.Study.load(tmp_path / "study.toml")
    assert again.to_tables() == study.to_tables() and again.design.levels == study.design.levels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicats": 3}, ["study.replicats", "'replicates'"]),
        ({"replicates": -2}, ["study.replicates", "-2"]),
        ({"replicates": "six"}, ["study.replicates", "'six'"]),
        ({"data": "mnits"}, ["study.data", "'mnist'"]),
        ({"host": "crep-cnn"}, ["study.host", "'creep-cnn'"]),
        ({"host": {"name": "creep-cnn", "sise": 8}}, ["study.host", "'sise'", "'size'"]),
        ({"task": "supervized"}, ["study.task", "'supervised'"]),
        ({"protocol": "publishd"}, ["study.protocol"]),
        ({"margin": -1.0}, ["study.margin"]),
        ({"controls": {"haed": ["frozen"]}}, ["study.controls", "'head'"]),
        ({"controls": ["frozn"]}, ["study.controls", "'frozen'"]),
        ({"name": "../escape"}, ["study.name"]),
    ],
)
def test_a_wrong_key_or_value_is_named_by_its_path_with_the_nearest_name(change, words):
    found = "\n".join(problems_of(tables(**change)))
    assert all(word in found for word in words), found


def test_all_problems_are_told_at_once():
    wrong = tables(replicats=3, margin=-1.0) | {"recipe": {"lr": -1, "optimiser": "adam"}, "studdy": {}}
    found = "\n".join(problems_of(wrong))
    for word in (
        "study.replicats",
        "study.margin",
        "recipe.lr",
        "recipe.optimiser",
        "'optimizer'",
        "studdy",
        "'study'",
    ):
        assert word in found


def test_unknown_names_of_all_kinds_are_told_at_once():
    wrong = tables(data="mnits") | {"recipe": {"optimizer": "adm", "loss": "crossentropy", "schedule": "cosin"}}
    wrong["design"] = {"levels": [{"head": "reuplod-linear"}]}
    found = "\n".join(problems_of(wrong))
    for word in ("'mnist'", "'adam'", "'cross-entropy'", "'cosine'", "'reupload-linear'"):
        assert word in found


def test_optimizer_and_schedule_options_are_checked():
    wrong = tables() | {"recipe": {"optimizer_options": {"bettas": [0.9, 0.99]}, "schedule": "step"}}
    found = "\n".join(problems_of(wrong))
    assert "'betas'" in found and "needs the option 'every'" in found


def test_toml_syntax_and_a_missing_file_are_explained(tmp_path):
    (tmp_path / "bad.toml").write_text("[study\n")
    with pytest.raises(dp.ConfigError, match="not valid TOML"):
        dp.Study.load(tmp_path / "bad.toml")
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(dp.ConfigError, match=r"did you mean 'study.toml'"):
        dp.Study.load(tmp_path / "stduy.toml")


def test_swaps_on_the_command_line_are_read_as_toml_values_or_strings():
    assert parse_swap("head=reupload-linear") == ("head", "reupload-linear")
    slot, spec = parse_swap("a.b=x:reps=3,scale=learned,mix=0.5,sizes=[1,2],name='a,b'")
    assert slot == "a.b"
    assert spec == {"component": "x", "reps": 3, "scale": "learned", "mix": 0.5, "sizes": [1, 2], "name": "a,b"}
    assert split_options("a=1,b={x=1,y=2}") == ["a=1", "b={x=1,y=2}"]
    for wrong in ("head", "=x", "head=", "head=x:reps"):
        with pytest.raises(dp.ConfigError):
            parse_swap(wrong)


def test_swaps_without_a_file_make_an_untuned_ladder_of_two_levels():
    study = study_of_request(None, data="mnist", swaps=["conv1=flipped-quanv", "conv2=flipped-quanv"])
    assert len(study.design.levels) == 1 and set(study.design.levels[0]) == {"conv1", "conv2"}
    assert study.tuning is None and study.controls is True and study.data == "mnist"


def test_set_reaches_every_table_and_short_names_mean_the_study():
    study = study_of_request(
        None, swaps=["head=reupload-linear"],
        sets=["protocol=published", "recipe.lr=1e-2", "study.seed=7", "host.size=16", "margin=0.02"],
    )  # fmt: skip
    assert (study.protocol, study.recipe.lr, study.seed, study.margin) == ("published", 1e-2, 7, 0.02)
    assert study.design.host == {"name": "creep-cnn", "size": 16}


def test_a_reference_to_code_is_refused_in_a_file_as_unknown_component():
    wrong = tables()
    wrong["design"]["levels"] = [{"head": "os:system"}]
    assert any("unknown component 'os:system'" in p for p in problems_of(wrong))


def test_set_takes_keys_in_quotes_as_toml_writes_them():
    from dopant.study.request import _set

    tables = {"design": {"factors": {"bias start": {"x": 0}}}}
    _set(tables, 'design.factors."bias start".x=1')
    _set(tables, "design.factors.'a.b=c' . \"q\\\"\".y = [1, 'two=2']")
    _set(tables, 'tuning.search."head:reps"=[5, 10]')
    _set(tables, "tuning.search.head:gain=[1.0]")
    _set(tables, 'seed="7=8"')
    assert tables == {
        "study": {"seed": "7=8"},
        "design": {"factors": {"bias start": {"x": 1}, "a.b=c": {'q"': {"y": [1, "two=2"]}}}},
        "tuning": {"search": {"head:reps": [5, 10], "head:gain": [1.0]}},
    }
    for wrong in ('design."x=1', "design..x=1", "=1", "seed", 'a."b"c=1', '""" ".x=1', "a.=1", 'a."\\q"=1'):
        with pytest.raises(ConfigError, match=r"write key\.path=value"):
            _set({}, wrong)

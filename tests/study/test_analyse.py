"""The verdict engine on tables from anywhere."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from dopant.errors import ConfigError, DopantWarning
from dopant.study.analysis import analyse


def results(n=12, seed=0, **means):
    rng = np.random.default_rng(seed)
    base = 0.8 + 0.01 * rng.normal(size=n)
    return pd.DataFrame(
        {"arm": arm, "replicate": r, "accuracy": base[r] + mean + 0.002 * rng.normal()}
        for arm, mean in means.items()
        for r in range(n)
    )


TABLE = results(classical=0, quantum=0.05, spiking=-0.05, features=0.05)


def refused(table, **settings):
    with pytest.raises(ConfigError) as error:
        analyse(table, **{"reference": "classical", "metric": "accuracy", **settings})
    return error.value.problems


def test_every_arm_that_is_neither_reference_nor_control_is_a_swap():
    answer = analyse(TABLE, reference="classical", controls=["features"], metric="accuracy", margin=0.01)
    levels = answer.effects[answer.effects["role"] == "level"]
    assert list(levels["swap"]) == ["quantum", "spiking"]
    assert list(levels["verdict"]) == ["explained by features", "worse"]
    assert len(answer.verdicts) == 2
    assert answer.verdicts[0].startswith("explained by features: quantum changed accuracy by +")
    assert list(answer.trials.columns) == ["arm", "replicate", "accuracy", "status"]
    oracle = stats.ttest_rel(*(TABLE.loc[TABLE["arm"] == a, "accuracy"].to_numpy() for a in ("quantum", "classical")))
    assert (levels["low"].iloc[0], levels["high"].iloc[0]) == pytest.approx(tuple(oracle.confidence_interval()))


def test_without_controls_nothing_is_beyond_the_ordinary():
    answer = analyse(TABLE, reference="classical", metric="accuracy")
    assert answer.effects["verdict"][0] == "cannot tell: better than the level below, but no control was run"


def test_a_lower_metric_may_be_the_better_one():
    table = TABLE.assign(loss=1 - TABLE["accuracy"]).drop(columns="accuracy")
    turned = analyse(
        table, reference="classical", controls=["features"], metric="loss", higher_is_better=False, margin=0.01
    )
    plain = analyse(TABLE, reference="classical", controls=["features"], metric="accuracy", margin=0.01)
    assert list(turned.effects["verdict"]) == list(plain.effects["verdict"])
    assert turned.effects["mean"].to_numpy() == pytest.approx(plain.effects["mean"].to_numpy())


def test_a_csv_file_gives_the_same_as_its_frame_in_any_order_of_rows(tmp_path):
    path = tmp_path / "results.csv"
    TABLE.sample(frac=1, random_state=0).to_csv(path, index=False)
    from_file = analyse(path, reference="classical", controls=["features"], metric="accuracy", margin=0.01)
    from_frame = analyse(TABLE, reference="classical", controls=["features"], metric="accuracy", margin=0.01)
    columns = ["mean", "low", "p", "verdict"]
    one, other = (
        a.effects.sort_values(["role", "swap", "versus"])[columns].reset_index(drop=True)
        for a in (from_file, from_frame)
    )
    pd.testing.assert_frame_equal(one, other)


def test_rows_per_item_are_averaged_and_give_the_item_error():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"arm": arm, "replicate": r, "item": i, "accuracy": float(rng.random() < chance)}
        for arm, chance in (("classical", 0.7), ("quantum", 0.9))
        for r in range(10)
        for i in range(40)
    ).sample(frac=1, random_state=0)
    answer = analyse(table, reference="classical", metric="accuracy")
    cube = table.pivot(index=["arm", "item"], columns="replicate", values="accuracy")
    d = cube.loc["quantum"].to_numpy() - cube.loc["classical"].to_numpy()
    row = answer.effects.iloc[0]
    assert row["mean"] == pytest.approx(d.mean())
    assert row["item_error"] == pytest.approx(stats.sem(d.mean(1)))
    assert row["replicates"] == 10
    shifted = table.assign(item=table["item"] + 7 * table["replicate"])  # other items in each replicate
    own = [stats.sem(d[:, r]) for r in range(10)]
    other = analyse(shifted, reference="classical", metric="accuracy").effects.iloc[0]
    assert other["item_error"] == pytest.approx(math.sqrt(np.mean(np.square(own))))


def test_split_sizes_switch_on_the_corrected_variance():
    plain = analyse(TABLE, reference="classical", metric="accuracy")
    split = analyse(TABLE.assign(n_train=600, n_test=200), reference="classical", metric="accuracy")
    width = [a.effects["high"][0] - a.effects["low"][0] for a in (split, plain)]
    assert width[0] / width[1] == pytest.approx(math.sqrt(1 + 12 / 3))
    assert any("Nadeau-Bengio" in note for note in split.notes)
    assert any("Sign-flip p values ignore that re-splits share data" in note for note in split.notes)
    assert split.effects["p"][0] == plain.effects["p"][0]
    assert "shown for completeness" in split.verdicts[0]
    assert "shown for completeness" not in plain.verdicts[0]


def test_an_empty_metric_is_a_failed_trial():
    table = TABLE.copy()
    table.loc[(table["arm"] == "quantum") & (table["replicate"] == 2), "accuracy"] = np.nan
    withheld = analyse(table, reference="classical", metric="accuracy").effects.iloc[0]
    assert (withheld["failed"], withheld["incomplete"], withheld["verdict"]) == (1, 1, "cannot tell")
    scored = analyse(table, reference="classical", metric="accuracy", failure_value=0.1).effects.iloc[0]
    assert (scored["failed"], scored["incomplete"], scored["replicates"]) == (1, 0, 12)


def test_one_replicate_and_numbered_arms_are_fine():
    table = pd.DataFrame({"arm": [0, 1], "replicate": ["a", "a"], "score": [1, 2]})
    answer = analyse(table, reference="0", metric="score")
    assert answer.verdicts[0].startswith("estimate: cannot tell: 1 changed score by +1 (1 replicate")


def test_the_table_is_left_as_it_was():
    before = TABLE.copy()
    analyse(TABLE, reference="classical", metric="accuracy")
    pd.testing.assert_frame_equal(TABLE, before)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_missing_columns_are_all_named_with_the_nearest():
    problems = refused(TABLE.rename(columns={"arm": "arms", "accuracy": "acuracy"}))
    assert len(problems) == 2
    assert "no column 'arm'; did you mean 'arms'?" in problems[0]
    assert "no column 'accuracy'; did you mean 'acuracy'?" in problems[1]


def test_unknown_reference_and_control_are_named_with_the_nearest():
    problems = refused(TABLE, reference="clasical", controls=["feature", "quantum"], margin=-1)
    assert "reference 'clasical' is no arm of the table; did you mean 'classical'?" in problems[0]
    assert "control 'feature' is no arm of the table; did you mean 'features'?" in problems[1]
    assert "margin: -1 is not a positive number" in problems[2]
    assert len(problems) == 3


def test_duplicates_text_and_absent_replicates_are_reported_together():
    table = pd.concat([TABLE, TABLE.iloc[:1]]).astype({"accuracy": object}).reset_index(drop=True)
    table.loc[20, "accuracy"] = "n/k"
    table = table[~((table["arm"] == "spiking") & (table["replicate"] == 11))]
    problems = refused(table)
    assert "column 'accuracy': 1 values are no numbers, such as 'n/k'" in problems[0]
    assert "arm 'classical', replicate 0 is given more than once" in problems[1]
    assert "arm 'spiking' has no row for replicate 11" in problems[2]
    assert len(problems) == 3


def test_items_without_an_item_column_get_the_hint():
    problems = refused(pd.concat([TABLE] * 5))
    assert "per-item results need a column 'item'" in problems[0]
    assert problems[-1] == "and 43 more are given more than once"


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda t: t.iloc[:0], {}, "no rows"),
        (lambda t: t[t["arm"] == "classical"], {}, "at least one more arm"),
        (lambda t: t, {"controls": ["classical"]}, "cannot be a control too"),
        (lambda t: t, {"metric": "replicate"}, "meaning of its own"),
        (lambda t: t, {"failure_value": math.nan}, "failure_value"),
        (lambda t: t.assign(n_train=5), {}, "needs its partner"),
        (lambda t: t.assign(n_train=5, n_test=0), {}, "positive numbers"),
        (lambda t: t.assign(arm=t["arm"].where(t["arm"] != "spiking")), {}, "column 'arm': 12 cells are empty"),
        (lambda t: t.assign(item=t["arm"].str.len()), {}, "tested on different items"),
        (lambda t: t.assign(x=0).set_axis([*t.columns, "arm"], axis=1), {}, "two columns 'arm'"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused(change, settings, message):
    assert any(message in problem for problem in refused(change(TABLE), **settings))


@pytest.mark.parametrize(("write", "note"), [
    ({"encoding": "utf-8-sig"}, None), ({"sep": ";"}, "semicolons between columns."), ({"sep": "\t"}, "tabs"),
    ({"sep": ";", "decimal": ","}, "decimal comma"),
])  # fmt: skip
def test_files_as_spreadsheets_write_them_are_read_and_how_is_said(write, note, tmp_path):
    path = tmp_path / "sheet.csv"
    TABLE.to_csv(path, index=False, **write)
    answer = analyse(path, reference="classical", metric="accuracy")
    plain = analyse(TABLE, reference="classical", metric="accuracy")
    assert answer.effects["mean"].to_numpy() == pytest.approx(plain.effects["mean"].to_numpy())
    assert any(note in n for n in answer.notes) if note else answer.notes == plain.notes


def test_spaces_around_names_are_taken_off_and_unused_columns_are_told():
    table = TABLE.assign(arm=TABLE["arm"] + " ", lab="x").rename(columns={"replicate": " replicate"})
    answer = analyse(table, reference="classical", metric="accuracy")
    assert len(answer.effects) == 3 and "Columns that were not used: lab." in answer.notes


def test_rows_that_cannot_be_paired_or_told_apart_get_their_remedy():
    assert "such as the seed itself" in refused(TABLE.assign(replicate=range(len(TABLE))))[0]
    twice = pd.concat([TABLE.assign(dataset="x"), TABLE.assign(dataset="y")])
    assert "they differ in 'dataset': analyse each of its values by itself" in refused(twice)[0]


def test_what_is_no_table_no_column_or_no_number_is_refused_in_words():
    assert "not a list" in refused([1, 2])[0]
    assert "the name of one column" in refused(TABLE, metric=["accuracy"])[0]
    assert "complex numbers" in refused(TABLE.assign(accuracy=1j))[0]
    assert "margin: '0.1' is not a positive number" in refused(TABLE, margin="0.1")[0]


def test_a_name_that_suggests_the_other_direction_is_warned_of_and_noted():
    table = TABLE.rename(columns={"accuracy": "test_loss"})
    with pytest.warns(DopantWarning, match="its name suggests the opposite"):
        answer = analyse(table, reference="classical", metric="test_loss")
    assert any("Larger test_loss counts as better" in note for note in answer.notes)
    analyse(table, reference="classical", metric="test_loss", higher_is_better=False)


def test_a_race_of_a_table_corrects_jointly_and_leaves_its_leader_to_fresh_replicates():
    answer = analyse(TABLE, reference="classical", metric="accuracy", race=True)
    rows = answer.effects.set_index("swap")
    assert set(rows["role"]) == {"race"} and rows["verdict"].str.contains("leads the race").sum() == 1
    assert "max-|t|" in answer.decided["families"] and any("fresh replicates" in n for n in answer.notes)


def test_right_and_wrong_items_get_mcnemars_test():
    rng = np.random.default_rng(2)
    right = {arm: (rng.random(80) < rate).astype(int) for arm, rate in (("classical", 0.6), ("quantum", 0.8))}
    table = pd.DataFrame(
        {"arm": arm, "replicate": 0, "item": i, "accuracy": x} for arm, xs in right.items() for i, x in enumerate(xs)
    )
    row = analyse(table, reference="classical", metric="accuracy").effects.iloc[0]
    counts = np.array([[((right["quantum"] == a) & (right["classical"] == b)).sum() for b in (1, 0)] for a in (1, 0)])
    assert row["mcnemar_p"] == pytest.approx(mcnemar(counts, exact=True).pvalue)
    assert row["item_low"] < row["mean"] < row["item_high"]


def test_failed_trials_have_their_complete_cases():
    table = TABLE.copy()
    table.loc[(table["arm"] == "quantum") & (table["replicate"] == 2), "accuracy"] = np.nan
    answer = analyse(table, reference="classical", metric="accuracy", failure_value=0.1)
    assert list(answer.complete_cases["replicates"]) == [11] and answer.complete_cases["direction"][0] == "better"
    assert any("quantum: with failed trials left out (11 complete pairs)" in note for note in answer.notes)
    assert analyse(TABLE, reference="classical", metric="accuracy").complete_cases.empty


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    assert "there is no table" in refused(tmp_path / "none.csv")[0]
    for content in (b"", b"\xff\xfe\x00\x81", b'arm,replicate\n"x,1\n'):
        path = tmp_path / "bad.csv"
        path.write_bytes(content)
        assert refused(path)

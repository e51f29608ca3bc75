"""Fractions of factorials: their resolution seen in the columns of the model, their effects against least squares."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm

import dopant as dp
from dopant.designs import from_config
from dopant.designs.fraction import RESOLUTIONS, fraction
from dopant.errors import ConfigError

# runs of the smallest fractions, Box, Hunter and Hunter 2005, table 6.22
TABLE = {
    (3, "III"): 4, (4, "IV"): 8, (5, "III"): 8, (5, "V"): 16, (6, "III"): 8, (6, "IV"): 16, (6, "V"): 32,
    (7, "III"): 8, (7, "IV"): 16, (7, "V"): 64, (8, "IV"): 16, (8, "V"): 64, (9, "III"): 16, (9, "IV"): 32,
    (9, "V"): 128, (10, "V"): 128, (11, "V"): 128,
}  # fmt: skip


def columns(runs, most):
    """{factors: the ±1 column of their product} of every product of at most `most` factors."""
    signs = 2 * np.array(runs) - 1
    k = signs.shape[1]
    return {
        names: signs[:, list(names)].prod(1)
        for n in range(1, most + 1)
        for names in itertools.combinations(range(k), n)
    }


@pytest.mark.parametrize(("factors", "name"), list(TABLE))
def test_the_smallest_fraction_of_a_resolution_has_the_runs_of_the_published_table(factors, name):
    assert len(fraction(factors, RESOLUTIONS[name]).runs()) == TABLE[factors, name]


@pytest.mark.parametrize("factors", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("resolution", [3, 4, 5])
def test_a_resolution_is_what_the_columns_of_the_model_say(factors, resolution):
    part = fraction(factors, resolution)
    runs = part.runs()
    assert runs[0] == (0,) * factors  # the host untouched is always trained
    every = columns(runs, min(factors, 5))
    overlap = [len({*a} | {*b}) - len({*a} & {*b}) and (len(a) + len(b))
               for a, b in itertools.combinations(every, 2) if abs(every[a] @ every[b]) == len(runs)]  # fmt: skip
    constant = [len(a) for a, column in every.items() if abs(column.sum()) == len(runs)]
    shortest = min([*overlap, *constant], default=factors + 1)
    assert shortest >= min(resolution, factors + 1) and (len(runs) == 2**factors or shortest == part.resolution)
    for (a, x), (b, y) in itertools.combinations(every.items(), 2):
        assert abs(x @ y) in (0, len(runs))  # columns are equal or orthogonal
        if len(a) == 1 and abs(x @ y):
            word = sum(1 << i for i in a)
            assert len(b) > 2 or sum(1 << i for i in b) in part.aliases(word)


def factorial(resolution, names="abcde"):
    return dp.Factorial("mlp", {f: {"old": {}, "new": {f: "identity"}} for f in names}, resolution=resolution)


def test_effects_of_a_fraction_are_the_coefficients_of_least_squares():
    design, generator = factorial("V"), np.random.default_rng(0)
    runs = np.array([[int(level == "new") for level in place.values()] for place in design.places()])
    names = [cell.name for cell in design.cells(False)]
    y = dict(zip(names, generator.normal(size=len(names)), strict=True))
    every = {(): np.ones(len(runs))} | columns(runs, 2)
    fit = sm.OLS(np.array([y[n] for n in names]), np.column_stack(list(every.values()))).fit()
    by_factors = dict(zip(every, fit.params, strict=True))
    for contrast in design.contrasts(False):
        value = sum(w * y[c] for c, w in contrast.plus) - sum(w * y[c] for c, w in contrast.minus)
        factors = tuple("abcde".index(part.strip()[0]) for part in contrast.cell.split(" x "))
        # a main effect spans two units of its ±1 column, an interaction's difference of differences four
        assert value == pytest.approx(by_factors[factors] * 2 ** len(factors), abs=1e-12)


def test_interactions_that_cannot_be_told_apart_are_one_effect_that_belongs_to_no_main_effect():
    found = [c for c in factorial("IV", "abcd").contrasts(False) if c.role == "interaction"]
    assert [c.swap for c in found] == [
        "a=new x b=new + c=new x d=new", "a=new x c=new + b=new x d=new", "a=new x d=new + b=new x c=new"
    ]  # fmt: skip
    assert all(c.of == () for c in found)


def test_a_main_effect_that_is_aliased_says_with_what_and_its_aliases_are_left_out():
    design = factorial("III", "abc")
    assert [(c.swap, c.role) for c in design.contrasts(False)] == [
        ("a=new (aliased with b x c)", "main"), ("b=new (aliased with a x c)", "main"),
        ("c=new (aliased with a x b)", "main"),
    ]  # fmt: skip
    assert design.aliases()[1:] == [
        "Not told apart: a and b x c.", "Not told apart: b and a x c.", "Not told apart: c and a x b."
    ]  # fmt: skip


def test_a_fraction_is_written_into_the_study_and_read_back():
    design = factorial("IV", "abcd")
    assert from_config("mlp", design.to_config()) == design
    assert len(design.cells(False)) == 8


def test_what_has_no_fraction_is_refused_with_the_remedy():
    three = dp.Factorial("mlp", {"hidden.0": ["identity", "linear"], "head": ["linear"]}, resolution="IV")
    assert any("two levels, not 'hidden.0' (3)" in p for p in three.problems())
    assert any("'VI' is not known" in p for p in factorial("VI").problems())
    both = dp.Factorial("mlp", {f: [None, "identity"] for f in "ab"}, only=[{"a": "old"}], resolution="III")
    assert any("leave one of the two out" in p for p in both.problems())
    with pytest.raises(ConfigError, match="resolution"):
        dp.Study.load(_file_of({"kind": "ladder", "resolution": "IV"}))


def _file_of(design):
    import tempfile

    import tomli_w

    with tempfile.NamedTemporaryFile("wb", suffix=".toml", delete=False) as file:
        tomli_w.dump({"study": {"host": "mlp", "data": "digits"}, "design": design}, file)
    return file.name

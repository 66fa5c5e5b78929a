"""Settings as the signature of a function states them: which values are right, and the words."""

import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.artifacts import InputError
from treehead.config import signatures
from treehead.config.signatures import Setting, choices, converted


def value(annotation: str, given: object) -> object:
    """A setting `x` of that annotation as it is converted; None if it is left out."""
    return converted("a", {"x": given}, {"x": Setting(annotation, needed=False)}).get("x")


def refused(annotation: str, given: object) -> str:
    with pytest.raises(InputError) as error:
        value(annotation, given)
    return str(error.value)


@pytest.mark.parametrize(
    ("annotation", "given", "right"),
    [
        ("int", "34", 34),
        ("int", "-3", -3),
        ("float", "1e-3", 0.001),
        ("float", 2, 2.0),
        ("int | float", 2, 2),
        ("int | float", "2", 2),
        ("int | float", "2.0", 2.0),
        ("bool", "true", True),
        ("bool", "False", False),
        ("str", "true", "true"),
        ("str", 12, "12"),
        ("int | None", "null", None),
        ("list[int]", ["1", 2], [1, 2]),
        ("list[int]", [], []),
        ('Literal["a", "b"]', "b", "b"),
        ("Literal[4, 16]", "16", 16),
        ("Literal[4, 16]", 4, 4),
        ("Annotated[int, Ge(1)] | None", "1", 1),
        ("Annotated[float, Gt(0), Le(1)]", "1", 1.0),
        ("Annotated[list[int], MinLen(1), MaxLen(2)]", ["1", "2"], [1, 2]),
        ('Annotated[str, re.compile("[a-c]+"), doc("letters")]', "abc", "abc"),
    ],
)
def test_a_right_value_gets_the_type_of_its_annotation(annotation: str, given, right):
    found = value(annotation, given)
    assert repr(found) == repr(right)


@pytest.mark.parametrize(
    ("annotation", "given", "sentence"),
    [
        ("int", 3.0, "a.x is 3.0; use a whole number."),
        ("int", "3.0", 'a.x is "3.0"; use a whole number.'),
        ("int", True, "a.x is true; use a whole number."),
        ("int", "010", 'a.x is "010"; use a whole number.'),
        ("int | float", "-007", 'a.x is "-007"; use a number.'),
        ("float", "inf", 'a.x is "inf"; use a number.'),
        ("float", float("nan"), "a.x is NaN; use a number."),
        ("bool", 1, "a.x is 1; use true or false."),
        ("bool", "1", 'a.x is "1"; use true or false.'),
        ("str", ["a"], 'a.x is ["a"]; use text.'),
        ("list[int]", 3, "a.x is 3; use a list, each value a whole number."),
        ("list[int]", [3, "b"], 'a.x is [3, "b"]; use a list, each value a whole number.'),
        ('Literal["cat", "dog"]', "dg", 'a.x is "dg"; use "dog" or "cat".'),
        ('Literal["cat", "dog"]', "DOG", 'a.x is "DOG"; use "dog" or "cat".'),
        ('Literal["cat"]', 3, 'a.x is 3; use "cat".'),
        ("Literal[4, 16]", 5, "a.x is 5; use 4 or 16."),
        ("Literal[4, 16]", True, "a.x is true; use 4 or 16."),
        ("Annotated[int, Ge(1), Lt(9)]", 9, "a.x is 9; use a whole number of at least 1 and less "),
        (
            "Annotated[int | float, Gt(0)] | None",
            0,
            "a.x is 0; use a number of more than 0 or null.",
        ),
        (
            "Annotated[list[int], MinLen(1)]",
            [],
            "a.x is []; use a list, each value a whole number; ",
        ),
        ('Annotated[str, re.compile("[a-c]+"), doc("letters")]', "x", 'a.x is "x"; use letters.'),
    ],
)
def test_a_wrong_value_is_refused_with_the_right_ones(annotation: str, given, sentence: str):
    assert refused(annotation, given).startswith(f"Config: {sentence}")


@hypothesis.settings(deadline=None)
@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()))
)
def test_whatever_is_given_is_within_the_limits_or_refused_in_one_sentence(given: object):
    try:
        found = value("Annotated[int, Ge(1), Le(9)]", given)
    except InputError as error:
        found, told = None, str(error)
    else:
        told = ""
    assert not told or told.endswith("; use a whole number of at least 1 and at most 9.")
    assert found is None or (type(found) is int and 1 <= found <= 9)


def test_a_setting_without_a_default_must_be_given_and_no_other_may_be():
    settings = {"width": Setting("int", needed=True), "relu": Setting("bool", needed=False)}
    assert converted("a", {"width": 3}, settings) == {"width": 3}
    for wrong, sentence in [
        ({}, "a.width is missing; give a whole number."),
        ({"width": None}, "a.width is missing; give a whole number."),
        ({"width": 3, "with": 3}, 'a.with is not a setting; use "width" or "relu".'),
    ]:
        with pytest.raises(InputError) as error:
            converted("a", wrong, settings)
        assert str(error.value) == f"Config: {sentence}"


@pytest.mark.parametrize(
    "annotation", ["", "Width", "tuple[int, int]", "Annotated[int, Interval(1)]"]
)
def test_an_annotation_that_is_not_understood_is_named(annotation: str):
    told = refused(annotation, 3)
    assert told.startswith(
        f"Config: a.x can't be checked: its annotation {annotation!r} is not und"
    )


def test_a_signature_is_read_without_running_the_file(tmp_path: Path):
    file = tmp_path / "head.py"
    file.write_text(
        "raise RuntimeError\n"
        "def fit(train, /, more=3, *rest, seed, width: int, relu: bool = False, **others): ...\n"
        "def check(width, limit=9, **_):\n"
        "    return f'{width} > {limit}' if width > limit else None\n"
    )
    defined = signatures.functions(file)
    assert signatures.positional(defined["fit"]) == ["train", "more", "*rest", "**others"]
    assert signatures.settings(defined["fit"]) == {
        "seed": Setting("", needed=True),
        "width": Setting("int", needed=True),
        "relu": Setting("bool", needed=False),
    }
    assert signatures.called(defined["check"], {"width": 10, "relu": True}) == "10 > 9"
    assert signatures.called(defined["check"], {"width": 9}) is None


def test_of_many_names_the_three_nearest_are_told():
    names = [f"head-{number}" for number in range(50)]
    assert choices(names, "head-77").count("head-") == 3
    assert choices(["b", "a"], "c").count('"') == 4


def test_a_configuration_is_checked_without_torch():
    """Every job loads the Snakefile, and torch takes seconds."""
    code = (
        "import sys; from treehead.config import settings, stages, sweeps;"
        "sweeps.expand({'tree': {'k': '2'}}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])

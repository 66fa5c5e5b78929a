"""The heads that a configuration names, and the sentence that answers each mistake in it."""

import inspect
import math
import re
from pathlib import Path

import pytest
import yaml

from treehead.artifacts import InputError
from treehead.config import sweeps
from treehead.config.sweeps import Head
from treehead.heads import fitting

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"


@pytest.fixture(scope="module")
def default() -> dict:
    """The mapping `heads` of the default configuration."""
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["heads"]


def test_a_list_becomes_a_head_for_each_value():
    heads = sweeps.expand({"lowrank": {"rank": [10, 25], "relu": True}})
    assert heads == {
        "lowrank-10": Head("lowrank", {"rank": 10, "relu": True}, ("rank",)),
        "lowrank-25": Head("lowrank", {"rank": 25, "relu": True}, ("rank",)),
    }


def test_two_lists_become_all_their_pairs():
    heads = sweeps.expand({"shortlist": {"rank": [5, 10], "margin": [2, 3.5]}})
    assert list(heads) == ["shortlist-5-2", "shortlist-5-3.5", "shortlist-10-2", "shortlist-10-3.5"]
    assert heads["shortlist-10-3.5"].settings == {"rank": 10, "margin": 3.5}
    assert heads["shortlist-10-3.5"].describe() == "rank=10, margin=3.5"


def test_a_value_of_null_appends_nothing_and_leaves_the_setting_out():
    heads = sweeps.expand({"nonnegative": {"width": [None, 25]}})
    assert list(heads) == ["nonnegative", "nonnegative-25"]
    assert heads["nonnegative"].settings == {}
    assert [head.describe() for head in heads.values()] == ["", "width=25"]
    assert sweeps.expand({"nonnegative": {"width": None}})["nonnegative"].settings == {}


def test_an_entry_of_null_is_left_out():
    assert list(sweeps.expand({"linear": {}, "lowrank": None})) == ["linear"]


def test_an_entry_may_have_a_name_of_its_own():
    heads = sweeps.expand({"wide": {"head": "lowrank", "rank": [90]}})
    assert heads == {"wide-90": Head("lowrank", {"rank": 90}, ("rank",))}


@pytest.mark.parametrize("value", [1e-3, "1e-3", "0.001"])
def test_numbers_that_yaml_leaves_as_text_become_floats(value: object):
    (head,) = sweeps.expand({"lasso": {"alpha": value}}).values()
    assert head.settings == {"alpha": 0.001}


def test_a_whole_number_is_a_float_where_one_is_wanted():
    (head,) = sweeps.expand({"lasso": {"alpha": 1}}).values()
    assert type(head.settings["alpha"]) is float


def test_a_head_has_training_of_its_own_and_a_teacher():
    own = {"teacher": "linear", "training": {"epochs": 3}}
    heads = sweeps.expand({"linear": {}, "small": {"head": "lowrank", "rank": 3, **own}})
    assert heads["small"].settings == {"rank": 3, **own}


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"fish": {}}, r"heads\.fish: there is no head fish; heads are lasso, linear, .*"),
        ({"a": {"head": "fish"}}, r"heads\.a: there is no head fish; .*"),
        ({"children": {}}, r"heads\.children: there is no head children; .*"),
        ({"lowrank": {"rank": 3, "rnk": 3}}, r"heads\.lowrank\.rnk is no setting of .* rank, .*"),
        ({"linear": {"seed": 3}}, r"heads\.linear\.seed is no setting of linear; .*"),
        ({"shift": {"teacher": "linear"}}, r"heads\.shift\.teacher is no setting of shift; .*"),
        ({"lowrank": {}}, r"heads\.lowrank\.rank is missing; lowrank needs it"),
        ({"lowrank": {"rank": None}}, r"heads\.lowrank\.rank is missing; .*"),
        ({"lowrank": {"rank": [None, 3]}}, r"heads\.lowrank\.rank is missing; .*"),
        ({"lowrank": {"rank": 2.5}}, r"heads\.lowrank\.rank is 2\.5; it must be of type int"),
        ({"lowrank": {"rank": [3, "x"]}}, r"heads\.lowrank\.rank is 'x'; .* type int"),
        ({"lowrank": {"rank": True}}, r"heads\.lowrank\.rank is True; .* type int"),
        ({"lowrank": {"rank": 3, "relu": 1}}, r"heads\.lowrank\.relu is 1; .* type bool"),
        ({"lowrank": {"rank": 3, "basis": 1}}, r"heads\.lowrank\.basis is 1; .* type str"),
        ({"lasso": {"alpha": "x"}}, r"heads\.lasso\.alpha is 'x'; .* type float"),
        ({"lasso": {"alpha": True}}, r"heads\.lasso\.alpha is True; .* type float"),
        (
            {"lowrank": {"rank": [3]}, "lowrank-3": {"head": "lowrank", "rank": 3}},
            r"heads\.lowrank-3: lowrank-3 stands there twice; remove one",
        ),
        ({"lowrank": {"rank": [3, 3]}}, r"heads\.lowrank: lowrank-3 stands there twice; .*"),
        ({"linear": {"teacher": "a"}}, r"heads\.linear: there is no head a to be its teacher; .*"),
        ({"linear": {"teacher": "linear"}}, r"heads\.linear: its teacher linear has a teacher; .*"),
        (
            {
                "linear": {},
                "b": {"head": "linear", "teacher": "linear"},
                "c": {"head": "linear", "teacher": "b"},
            },
            r"heads\.c: its teacher b has a teacher; choose another",
        ),
    ],
)
def test_a_mistake_is_answered_with_one_sentence_that_names_its_key(entries, sentence: str):
    with pytest.raises(InputError) as error:
        sweeps.expand(entries)
    assert re.fullmatch(rf"{sentence}\.", str(error.value))


def test_every_head_can_be_fitted_predict_and_tell_its_cost():
    assert {"linear", "lowrank", "tree"} <= set(sweeps.modules())
    for name in sweeps.modules():
        module = fitting.module(name)
        assert next(iter(inspect.signature(module.fit).parameters)) == "train"
        for function in (module.predict, module.cost):
            assert list(inspect.signature(function).parameters) == ["head", "features"]


def test_settings_are_read_from_the_source_as_python_reads_them():
    for name in sweeps.modules():
        taken = inspect.signature(fitting.module(name).fit).parameters.values()
        keywords = {each.name: each for each in taken if each.kind is each.KEYWORD_ONLY}
        read = sweeps.arguments(name)
        assert list(read) == list(keywords)
        for key, argument in read.items():
            assert argument.needed == (keywords[key].default is inspect.Parameter.empty)


def test_the_default_configuration_expands_whole(default: dict):
    heads = sweeps.expand(default)
    sizes = [
        math.prod(len(value) for value in entry.values() if isinstance(value, list))
        for entry in default.values()
    ]
    assert len(heads) == sum(sizes) > 50
    assert {head.module for head in heads.values()} == set(sweeps.modules())


def test_every_head_of_the_default_configuration_has_what_its_fit_needs(default: dict):
    for head in sweeps.expand(default).values():
        given = head.settings | {"training": {}, "seed": 0}
        if "parent_of" in sweeps.arguments(head.module):
            given["parent_of"] = None
        inspect.signature(fitting.module(head.module).fit).bind(None, **given)

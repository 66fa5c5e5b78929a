"""The heads that a configuration names, and the sentence that answers each mistake in it."""

import inspect
import math
import re
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_config

from treehead.artifacts import InputError
from treehead.config import settings, sweeps
from treehead.config.sweeps import Head
from treehead.heads import fitting

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The default configuration."""
    monkeypatch.chdir(ROOT)
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def default(config: dict) -> dict:
    """The mapping `heads` of the default configuration."""
    return config["heads"]


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
    heads = sweeps.expand({"lasso": {"alpha": [value]}})
    assert heads == {"lasso-0.001": Head("lasso", {"alpha": 0.001}, ("alpha",))}


def test_a_whole_number_is_a_float_where_one_is_wanted():
    (head,) = sweeps.expand({"lasso": {"alpha": 1}}).values()
    assert type(head.settings["alpha"]) is float


def test_a_head_has_training_of_its_own_and_a_teacher():
    own = {"teacher": "linear", "training": {"epochs": 3}}
    heads = sweeps.expand({"linear": {}, "small": {"head": "lowrank", "rank": 3, **own}})
    assert heads["small"].settings == {"rank": 3, **own}


# A wrong entry as it is written, and the sentence that answers it.
WRONG = {
    "tree: {tree: cluster}": 'tree.tree is "cluster"; use "clusters", "random" or "taxonomy"',
    "tree: {tree: Taxonomy}": 'tree.tree is "Taxonomy"; use "taxonomy", "clusters" or "random"',
    "tree: {reads: feature}": 'tree.reads is "feature"; use "features" or "parent_logits"',
    "tree: {k: [1, 0]}": "tree.k is 0; use a whole number of at least 1",
    "tree: {groups: 2.5}": "tree.groups is 2.5; use a whole number of at least 1",
    "tree: {child_weight: -1}": "tree.child_weight is -1; use a number of more than 0",
    "shift: {tree: cluster}": 'shift.tree is "cluster"; use "clusters", "random" or "taxonomy"',
    "lowrank: {rank: 3, basis: PCA}": 'lowrank.basis is "PCA"; use "pca" or "trained"',
    "lowrank: {rank: 0}": "lowrank.rank is 0; use a whole number of at least 1",
    "lowrank: {rank: true}": "lowrank.rank is true; use a whole number of at least 1",
    "lowrank: {rank: 3, relu: 1}": "lowrank.relu is 1; use true or false",
    "lowrank: {rank: 3, relu: yes please}": 'lowrank.relu is "yes please"; use true or false',
    "sparse: {kept: -4}": "sparse.kept is -4; use a whole number of at least 1",
    "sparse: {kept: few}": 'sparse.kept is "few"; use a whole number of at least 1',
    "sparse: {kept: 34, pruned: 7.0}": "sparse.pruned is 7.0; use a number of more than 0 and less "
    "than 1",
    "mlp: {dropout: 1}": "mlp.dropout is 1; use a number of at least 0 and less than 1",
    "mlp: {label_smoothing: nan}": 'mlp.label_smoothing is "nan"; use a number of at least 0 and '
    "less than 1",
    "mlp: {width: [64, [32]]}": "mlp.width is [32]; use a whole number of at least 1",
    "nonnegative: {width: 0}": "nonnegative.width is 0; use a whole number of at least 1 and "
    "at most 100000 or null",
    "nonnegative: {weights: selu}": 'nonnegative.weights is "selu"; use "relu", "sigmoid" or '
    '"softplus"',
    "lasso: {alpha: -0.1}": "lasso.alpha is -0.1; use a number of at least 0",
    "lasso: {alpha: 1, iterations: 1e2}": 'lasso.iterations is "1e2"; use a whole number of '
    "at least 1",
    "lowbit: {ternary: [0.5, 1.5]}": "lowbit.ternary is 1.5; use a number of at least 0 and "
    "at most 1",
    "lowbit: {ternary: 1, rounded: 1}": "lowbit.rounded is 1; use a number of at least 0 and less "
    "than 1",
    "shortlist: {rank: 3, k: 4, margin: 2}": "shortlist: give either k or margin",
    "shortlist: {rank: 3}": "shortlist: give either k or margin",
    "shortlist: {rank: 3, margin: -1}": "shortlist.margin is -1; use a number of at least 0 or "
    "null",
    "nested: {margins: x}": 'nested.margins is "x"; use numbers with dashes between them, such as '
    "3-2-1.5",
    "nested: {screens: 8-x}": 'nested.screens is "8-x"; use whole numbers with dashes between '
    "them, such as 12-30-80",
    "nested: {screens: 0-8-9}": 'nested.screens is "0-8-9"; use whole numbers with dashes between '
    "them, such as 12-30-80",
    "nested: {screens: 30-12-80}": "nested: screens 30-12-80 must grow",
    "nested: {screens: 12-30, margins: 3-2-1}": "nested: screens 12-30 and margins 3-2-1 must be "
    "as many",
    "linear: {teacher: mpl}": 'linear: its teacher mpl is not a head; use "mlp", ',
}
# What an entry of the table has beside the wrong setting.
RIGHT = {
    "mlp": {"width": 8, "dropout": 0, "input_dropout": 0, "label_smoothing": 0},
    "nested": {"screens": "8-20-60", "margins": "3-2-1", "decision": 90},
}


def read(config: dict, entry: str, command_line: bool) -> dict[str, Head]:
    """The heads of the default configuration with one other entry, from a file or as Snakemake
    hands on a command line."""
    (name,) = given = yaml.safe_load(entry)
    text = parse_config([f"heads={{{entry}}}"])["heads"] if command_line else given
    config["heads"][name] = RIGHT.get(name, {}) | text[name]
    settings.check(config, SCHEMA)
    return sweeps.expand(config["heads"])


@pytest.mark.parametrize("command_line", [False, True], ids=["file", "command line"])
@pytest.mark.parametrize("entry", WRONG)
def test_a_wrong_setting_is_refused_with_what_would_be_right(
    config: dict, entry: str, command_line: bool
):
    with pytest.raises(InputError) as error:
        read(config, entry, command_line)
    told, sentence = str(error.value), f"Config: heads.{WRONG[entry]}"
    if command_line:  # where each value is text
        told, sentence = told.replace('"', ""), sentence.replace('"', "")
    assert told.startswith(sentence)


@pytest.mark.parametrize("command_line", [False, True], ids=["file", "command line"])
@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("sparse: {kept: 34}", {"kept": 34}),
        ("sparse: {kept: 34, structured: true}", {"kept": 34, "structured": True}),
        ("sparse: {kept: 34, structured: False}", {"kept": 34, "structured": False}),
        ("lasso: {alpha: 1e-3, iterations: 5}", {"alpha": 0.001, "iterations": 5}),
        ("lasso: {alpha: 1}", {"alpha": 1.0}),
        ("shortlist: {rank: 3, k: null, margin: 2}", {"rank": 3, "margin": 2.0}),
        ("lowrank: {rank: 3, basis: pca}", {"rank": 3, "basis": "pca"}),
        ("linear: {teacher: null}", {}),
        ("linear: {training: {learning_rate: 1e-2}}", {"training": {"learning_rate": 0.01}}),
        (
            "nested: {margins: 3, screens: 12, decision: 20}",
            {"margins": "3", "screens": "12", "decision": 20},
        ),
    ],
)
def test_a_right_setting_has_the_type_that_fit_wants(
    config: dict, entry: str, values: dict, command_line: bool
):
    head = read(config, entry, command_line)[entry.partition(":")[0]]
    assert head.settings == values
    assert [*map(type, head.settings.values())] == [*map(type, values.values())]


@pytest.mark.parametrize("command_line", [False, True], ids=["file", "command line"])
def test_a_sweep_has_the_same_names_from_a_file_and_from_a_command_line(
    config: dict, command_line: bool
):
    heads = read(config, "nonnegative: {width: [null, 25, 50]}", command_line)
    swept = {name: heads[name].settings for name in heads if re.match(r"nonnegative(-\d+)?$", name)}
    assert swept == {
        "nonnegative": {},
        "nonnegative-25": {"width": 25},
        "nonnegative-50": {"width": 50},
    }


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"fish": {}}, 'heads.fish: there is not a head fish; use "shift", "lasso", "linear", '),
        ({"a": {"head": "fish"}}, "heads.a: there is not a head fish; use "),
        ({"loop": {}}, "heads.loop: treehead/heads/loop.py is not a head, which has fit(train, "),
        (
            {"lowrank": {"rank": 3, "rnk": 3}},
            'heads.lowrank.rnk is not a setting; use "rank", ',
        ),
        (
            {"linear": {"seed": 3}},
            'heads.linear.seed is not a setting; use "teacher" or "training".',
        ),
        ({"shift": {"teacher": "linear"}}, "heads.shift.teacher is not a setting; use "),
        ({"lowrank": {}}, "heads.lowrank.rank is missing; give a whole number of at least 1."),
        (
            {"lowrank": {"rank": None}},
            "heads.lowrank.rank is missing; give a whole number of at least 1.",
        ),
        (
            {"lowrank": {"rank": [None, 3]}},
            "heads.lowrank.rank is missing; give a whole number of at least 1.",
        ),
        ({"lowrank": {"rank": []}}, "heads.lowrank.rank is an empty list; give it a value."),
        (
            {"lowrank": {"rank": [3]}, "lowrank-3": {"head": "lowrank", "rank": 3}},
            "heads.lowrank-3: lowrank-3 appears twice; remove one.",
        ),
        (
            {"lowrank": {"rank": [3, "3"]}},
            "heads.lowrank: lowrank-3 appears twice; remove one.",
        ),
        (
            {"linear": {"teacher": "linear"}},
            "heads.linear: its teacher linear has a teacher itself; ",
        ),
        (
            {
                "linear": {},
                "b": {"head": "linear", "teacher": "linear"},
                "c": {"head": "linear", "teacher": "b"},
            },
            'heads.c: its teacher b has a teacher itself; use "linear".',
        ),
    ],
)
def test_a_mistake_is_answered_with_one_sentence_that_names_its_key(entries, sentence: str):
    with pytest.raises(InputError) as error:
        sweeps.expand(entries)
    assert str(error.value).startswith(f"Config: {sentence}")


HEAD = """
def fit(train, *, seed, rank=3): ...
def predict(head, features): ...
def cost(head, features): ...
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fit(train, *, seed, rank=3)", "fit(train, seed, *, rank=3)"),
        ("fit(train, *, seed, rank=3)", "fit(train, *, rank=3)"),
        ("fit(train, *, seed, rank=3)", "fit(*, train, seed)"),
        ("fit(train, *, seed, rank=3)", "fit(train, *, seed, **settings)"),
        ("fit(train, *, seed, rank=3)", "fit(train, *more, seed)"),
        ("fit(train, *, seed, rank=3)", "fit(features, labels, *, seed)"),
        ("predict(head, features)", "predict(features, head)"),
        ("predict(head, features)", "predict(head, features, *, k)"),
        ("cost(head, features)", "cost(head)"),
        ("cost(head, features)", "price(head, features)"),
    ],
)
def test_a_module_whose_functions_have_other_arguments_is_no_head(
    tmp_path: Path, old: str, new: str
):
    for name, text in {"head.py": HEAD, "other.py": HEAD.replace(old, new)}.items():
        (tmp_path / name).write_text(text)
    assert sweeps.is_head(tmp_path / "head.py")
    assert not sweeps.is_head(tmp_path / "other.py")


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


def test_a_head_to_compare_with_is_there():
    heads = sweeps.expand({"linear": {}, "mlp": None})
    sweeps.check_baselines(heads, ["linear"])
    with pytest.raises(InputError, match="baselines names mlp, but there is no such"):
        sweeps.check_baselines(heads, ["linear", "mlp"])


def test_names_do_not_depend_on_the_order_of_the_settings():
    """As in `<results>/config.yaml`, in which keys are sorted."""
    given = {"screens": ["4-8"], "margins": ["3-2"], "decision": 16}
    for nested in (given, dict(sorted(given.items()))):
        assert list(sweeps.expand({"nested": nested})) == ["nested-4-8-3-2"]

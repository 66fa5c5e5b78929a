"""The recommendation: the smallest head that loses little on val, by val alone."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treehead.artifacts import InputError, sha256
from treehead.data.embeddings import Embeddings
from treehead.evaluation import choice
from treehead.evaluation.choice import Packed
from treehead.heads import packing
from treehead.heads.head import Head

FULL = ("linear", "float32")
N = 200
NO_BOUND = dict.fromkeys(["macs", "macs_worst", "bytes", "parameters"])


def packed(head: str, *right: int, macs=10, size=100, worst=20, precision="float32", n=N):
    """The files of a head: for each seed how many of n val images it gets right, the first ones."""
    return [
        Packed(
            {"head": head, "precision": precision, "seed": seed, "file": f"{head}-{seed}.bin"},
            {"macs": macs, "macs_worst": worst, "bytes": size, "parameters": 5},
            np.arange(n) < count,
        )
        for seed, count in enumerate(right)
    ]


def chosen(*heads: list[Packed], by="bytes", margin=0.05, **at_most: int) -> dict:
    """The choice among these heads and the full one: 180 right, 100 MACs, 1000 bytes."""
    files = [*packed("linear", 180, 180, macs=100, size=1000, worst=100)]
    files += itertools.chain(*heads)
    bounds = NO_BOUND | at_most
    return choice.choose(files, full=FULL, by=by, margin=margin, at_most=bounds)


def test_the_smallest_head_within_the_margin_is_chosen():
    found = chosen(packed("large", 180, 180, size=900), packed("small", 171, 171, size=200))
    assert found["head"] == "small"
    assert found["val"]["difference"] == pytest.approx(-0.045)
    assert found["ratio"]["bytes"] == found["size"] == 0.2
    assert [row["head"] for row in found["alternatives"]] == ["large", "linear"]


@pytest.mark.parametrize(("lost", "head"), [(10, "small"), (11, "linear")])
def test_a_loss_of_just_the_margin_is_allowed(lost: int, head: str):
    """0.9 - 0.85 is a little more than 0.05 as floats."""
    assert chosen(packed("small", 180 - lost, 180 - lost))["head"] == head


def test_the_loss_is_the_mean_over_seeds():
    assert chosen(packed("small", 160, 184))["head"] == "small"
    assert chosen(packed("small", 150, 184))["head"] == "linear"


def test_the_file_is_that_of_the_best_seed_on_val_the_lowest_of_equal_ones():
    assert chosen(packed("small", 175, 178))["file"] == "small-1.bin"
    assert chosen(packed("small", 178, 178)[::-1])["file"] == "small-0.bin"


def test_a_cost_is_that_of_the_file():
    """A lasso's seeds differ in size."""
    files = [*packed("small", 175, size=500), packed("small", 0, 176, size=600)[1]]
    found = chosen(files)
    assert (found["seed"], found["cost"]["bytes"]) == (1, 600)
    with pytest.raises(InputError, match="small at float32, has 600 bytes"):
        chosen(files, bytes=550)


def test_heads_of_equal_cost_are_ordered_by_accuracy_then_by_name():
    equal = [packed("b", 175, 175), packed("a", 175, 175), packed("c", 176, 176)]
    found = chosen(*equal)
    assert [found["head"], *(row["head"] for row in found["alternatives"])] == [
        *("c", "a", "b", "linear")
    ]


def test_another_precision_of_the_chosen_head_is_not_an_alternative():
    small = [
        packed("small", 176, 176, precision=p, size=s) for p, s in (("int8", 90), ("int4", 70))
    ]
    found = chosen(*small, packed("other", 180, 180, size=95))
    assert (found["head"], found["precision"]) == ("small", "int4")
    assert [row["head"] for row in found["alternatives"]] == ["other", "linear"]


@pytest.mark.parametrize(
    ("by", "head"),
    [
        ("macs", "fast"),
        ("bytes", "light"),
        ({"macs": 1, "bytes": 1}, "fast"),  # 0.1 + 0.5 against 0.6 + 0.1
        ({"macs": 1, "bytes": 2}, "light"),  # 0.1 + 1 against 0.6 + 0.2
        ({"bytes": 3}, "light"),
    ],
)
def test_a_weighted_sum_is_of_shares_of_the_full_heads_costs(by, head: str):
    heads = (
        packed("fast", 180, 180, macs=10, size=500),
        packed("light", 180, 180, macs=60, size=100),
    )
    assert chosen(*heads, by=by)["head"] == head


def test_the_full_heads_size_is_one_whatever_the_weights():
    found = chosen(by={"macs": 1, "bytes": 0.5, "macs_worst": 7})
    assert (found["head"], found["size"]) == ("linear", 1)


@pytest.mark.parametrize("cost", NO_BOUND)
def test_what_costs_more_than_at_most_is_left_out(cost: str):
    """`over` is better in every other respect."""
    small, over = packed("small", 180, 180), packed("over", 182, 182, macs=1, size=2, worst=1)
    limit = small[0].cost[cost]
    over = [file._replace(cost=file.cost | {cost: limit + 1}) for file in over]
    by = "macs" if cost == "bytes" else "bytes"
    assert chosen(small, over, by=by)["head"] == "over"
    assert chosen(small, over, by=by, **{cost: limit})["head"] == "small"


def test_if_nothing_fits_the_nearest_head_its_bound_and_the_remedies_are_told():
    heads = packed("near", 178, 178, size=300), packed("far", 176, 176, size=280, macs=90)
    tiny = packed("tiny", 133, 133, size=50)
    with pytest.raises(InputError) as error:
        chosen(*heads, tiny, bytes=250, macs=30)
    assert str(error.value) == (
        "Config: no head within chosen.margin 0.05 of the full one on val is small enough; the "
        "nearest, near at float32, has 300 bytes where chosen.at_most.bytes is 250; raise "
        "chosen.at_most, or chosen.margin to 0.2350 for tiny at float32."
    )
    assert chosen(*heads, tiny, bytes=250, macs=30, margin=0.235)["head"] == "tiny"
    with pytest.raises(InputError, match=r"raise chosen.at_most\.$"):
        chosen(*heads, bytes=5)


@pytest.mark.parametrize("n", [0, 1])
def test_val_without_images_chooses_nothing(n: int):
    """Every head would be as good as the full one there."""
    files = packed("linear", n, n=n) + packed("small", n, size=1, n=n)
    with pytest.raises(InputError, match=r"fewer than two images.*val_fraction"):
        choice.choose(files, full=FULL, by="bytes", margin=0.1, at_most={})


def test_the_standard_error_is_of_the_paired_difference():
    """Two heads that err on the same images differ surely; on others, they differ by chance."""
    files = packed("small", 176, 172)
    found = chosen(files, margin=1)["val"]
    against = np.mean([file.right for file in files], axis=0) - (np.arange(N) < 180)
    assert found["standard_error"] == pytest.approx(np.std(against, ddof=1) / np.sqrt(N))
    assert chosen()["val"]["standard_error"] == 0


heads = st.lists(
    st.tuples(st.lists(st.integers(0, N), min_size=2, max_size=2), st.integers(1, 9)), max_size=6
)


@given(heads, st.sampled_from([0, 0.01, 0.05, 0.5]), st.integers(1, 9))
def test_no_head_that_fits_is_smaller(drawn, margin: float, most: int):
    files = [packed(f"h{i}", *right, size=size) for i, (right, size) in enumerate(drawn)]
    fits = [
        (size, -sum(right), f"h{i}")
        for i, (right, size) in enumerate(drawn)
        if sum(right) >= 360 - round(2 * N * margin) and size <= most
    ]
    if not fits:
        with pytest.raises(InputError):
            chosen(*files, margin=margin, bytes=most)
    else:
        assert chosen(*files, margin=margin, bytes=most)["head"] == min(fits)[2]


def predictions(seed: int) -> dict[str, pd.DataFrame]:
    """Predictions of both heads on the test images, at random."""
    rng = np.random.default_rng(seed)
    names = ["fine", "float32-0", "float32-1"]
    return {
        head: pd.DataFrame({name: rng.integers(0, 2, 50) for name in names})
        for head in ("linear", "small")
    }


def test_the_test_images_change_nothing_but_the_test_figures():
    found = chosen(packed("small", 175, 178))
    told = [choice.with_test(found, predictions(seed)) for seed in (0, 1)]
    assert told[0].pop("test") != told[1].pop("test")
    assert told[0] == told[1] == found


def test_the_test_figures_are_those_of_the_file_and_of_its_head():
    answers = predictions(0)
    found = choice.with_test(chosen(packed("small", 175, 178)), answers)["test"]
    right = {
        head: [frame[f"float32-{seed}"] == frame["fine"] for seed in (0, 1)]
        for head, frame in answers.items()
    }
    assert found["n"] == 50
    assert found["file_accuracy"] == right["small"][1].mean()
    assert found["accuracy"] == np.mean(right["small"])
    assert found["full"] == np.mean(right["linear"])
    assert found["difference"] == found["accuracy"] - found["full"]
    assert found["ci95"][0] < found["accuracy"] < found["ci95"][1]
    assert found["file_ci95"][0] < found["file_accuracy"] < found["file_ci95"][1]


def test_a_packed_file_is_measured_on_val(tmp_path: Path):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 4)).astype(np.float32)
    arrays = {"weight": weight, "bias": weight[:, 0], "exponent": np.zeros(4, np.int8)}
    path = tmp_path / "results/heads/mine/packed/float32-7.bin"
    path.parent.mkdir(parents=True)
    packing.write(path, Head(arrays), 32)
    features = rng.normal(size=(1, N, 4)).astype(np.float32)
    val = Embeddings(features, rng.integers(0, 3, N))
    mine = {"module": "linear", "setting": "width=3"}
    about, cost, right = choice.measure(path, {"mine": mine}, val)
    assert about == {
        **{"head": "mine", "module": "linear", "setting": "width=3", "precision": "float32"},
        **{"seed": 7, "file": "heads/mine/packed/float32-7.bin", "sha256": sha256(path)},
    }
    size = path.stat().st_size
    assert cost == {"macs": 12, "macs_worst": 12, "bytes": size, "parameters": 15}
    predicted = (features[0] @ weight.T + weight[:, 0]).argmax(1)
    assert right.tolist() == (predicted == val.fine).tolist()
    json.dumps([about, cost], allow_nan=False)

"""Heads in whole numbers: the C equals the reference to the bit, and both are the fitted head."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from treehead.artifacts import InputError, sha256
from treehead.deploy.c import agreement, build, emulated, instructions, integer, source
from treehead.deploy.c.build import IntegerHead
from treehead.heads import fitting, packing
from treehead.heads.head import Head

DIM, CLASSES, PARENTS = 37, 11, 4
ARM = ["cortex-m4", "cortex-m4-loop", "cortex-m0plus"]
LACKING = [command for name in ARM for command in emulated.missing(name)]
needs_arm = pytest.mark.skipif(
    bool(LACKING), reason="needs Debian's gcc-arm-none-eabi and qemu-system-arm"
)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def some(rows: int, columns: int, kept: int) -> np.ndarray:
    """A mask of so many places in each row."""
    return normal(rows, columns).argsort(1).argsort(1) < kept


def in_groups(rows: int, columns: int, group: int) -> np.ndarray:
    """A mask of one place in each group."""
    mask = np.zeros((rows, columns), bool)
    for start in range(0, columns, group):
        size = min(group, columns - start)
        mask[np.arange(rows), start + np.arange(rows) * 7 % size] = True
    return mask


def dense(outputs: int, inputs: int, name: str = "") -> dict[str, np.ndarray]:
    return {f"{name}weight": normal(outputs, inputs), f"{name}bias": normal(outputs)}


def a_tree(inputs: int) -> dict[str, np.ndarray]:
    parent_of = np.arange(CLASSES).astype(np.uint16) * 3 % PARENTS
    parts = dense(PARENTS, DIM, "parent_"), dense(CLASSES, inputs, "child_")
    return parts[0] | parts[1] | {"parent_of": parent_of}


def a_sparse(mask: np.ndarray) -> dict[str, np.ndarray]:
    values = normal(len(mask), int(mask[0].sum()))
    return {"values": values, "mask": mask, "bias": normal(len(mask))}


def a_nested(decision: np.ndarray) -> dict[str, np.ndarray]:
    """Screens of 3, 7 and 12 weights."""
    own, level = a_sparse(decision), some(CLASSES, 12, 3).astype(int) + some(CLASSES, 12, 7)
    return own | {
        "screen_values": normal(CLASSES, 12),
        "screen_mask": some(CLASSES, DIM, 12),
        "screen_level": (2 - level).astype(np.uint16),
        "bias": normal(4 * CLASSES),
    }


def a_lowbit(ternary: int) -> dict[str, np.ndarray]:
    three = some(1, DIM, ternary)[0]
    return {
        "three": three,
        "positive": (normal(CLASSES, DIM - ternary) > 0).astype(np.int8),
        "code": np.clip(np.rint(normal(CLASSES, ternary)), -1, 1).astype(np.int8),
        "scale_two": 0.05 * np.exp(normal(CLASSES)),
        "scale_three": 0.1 * np.exp(normal(CLASSES)),
        "bias": normal(CLASSES),
    }


def a_twobit() -> dict[str, np.ndarray]:
    rows = PARENTS + CLASSES
    return {
        "code": np.clip(np.floor(normal(rows, 20)), -2, 1).astype(np.int8),
        "scale": 0.1 * np.exp(normal(2)),
        "bias": normal(rows),
        "read": some(1, DIM, 20)[0],
        "parent_of": a_tree(DIM)["parent_of"],
    }


class Case(NamedTuple):
    """A head by hand: its module, arrays, settings, precision and bits of features."""

    module: str
    arrays: dict[str, np.ndarray]
    settings: dict
    precision: int
    bits: int


LOWRANK = {"down": normal(5, DIM), "up": normal(CLASSES, 5), "bias": normal(CLASSES)}
NONNEGATIVE = {"weight_0": abs(normal(6, DIM)), "weight_1": abs(normal(CLASSES, 6))}
MARGINS = {"margins": [3.0, 2.0, 1.5]}
LARGE = {"weight": np.sign(normal(3, 1100)), "bias": normal(3)}
EVERY = np.ones((CLASSES, DIM), bool)
LONG = {"mask": some(CLASSES, 700, 2), "values": normal(CLASSES, 2), "bias": normal(CLASSES)}
SHORTLIST = {f"preview_{name}": array for name, array in LOWRANK.items()} | dense(CLASSES, DIM)
MANY = dense(300, DIM, "child_") | {"parent_of": (np.arange(300) % PARENTS).astype(np.uint16)}
CASES = {
    "linear": Case("linear", dense(CLASSES, DIM), {}, 8, 8),
    "linear-16": Case("linear", dense(CLASSES, DIM), {}, 8, 16),
    "linear-int4": Case("linear", dense(CLASSES, DIM), {}, 4, 8),
    "linear-int2": Case("linear", dense(CLASSES, DIM), {}, 2, 16),
    "linear-wide": Case("linear", LARGE, {}, 8, 8),
    "lasso": Case(
        "lasso", dense(CLASSES, 3) | {"kept": np.array([1, 30, 36], np.uint16)}, {}, 8, 16
    ),
    "lowrank": Case("lowrank", LOWRANK, {"relu": False}, 8, 8),
    "lowrank-relu": Case("lowrank", LOWRANK, {"relu": True}, 4, 16),
    "mlp": Case("mlp", dense(9, DIM, "hidden_") | dense(CLASSES, 9), {}, 8, 16),
    "nonnegative": Case(
        "nonnegative", {"weight_0": abs(normal(CLASSES, DIM)), "bias": normal(CLASSES)}, {}, 8, 8
    ),
    "nonnegative-6": Case("nonnegative", NONNEGATIVE | {"bias": normal(CLASSES)}, {}, 8, 16),
    "tree-1": Case("tree", a_tree(DIM), {"k": 1, "reads": "features"}, 8, 16),
    "tree-3": Case("tree", a_tree(DIM), {"k": 3, "reads": "features"}, 4, 8),
    "tree-empty": Case(
        "tree",
        a_tree(DIM) | {"parent_of": (np.arange(CLASSES) % 2 * 2 + 1).astype(np.uint16)},
        {"k": 1, "reads": "features"},
        8,
        16,
    ),
    "tree-many": Case("tree", a_tree(DIM) | MANY, {"k": 2, "reads": "features"}, 8, 16),
    "tree-logits": Case("tree", a_tree(PARENTS), {"k": 2, "reads": "parent_logits"}, 8, 8),
    "twobit": Case("twobit", a_twobit(), {"margin": 1.5}, 8, 16),
    "shortlist": Case("shortlist", SHORTLIST, {"k": 3}, 8, 16),
    "shortlist-margin": Case("shortlist", SHORTLIST, {"margin": 2.5}, 8, 8),
    "sparse": Case("sparse", a_sparse(some(CLASSES, DIM, 10)), {}, 8, 16),
    "sparse-far": Case("sparse", LONG, {}, 8, 8),
    "structured": Case("sparse", a_sparse(in_groups(CLASSES, DIM, 4)), {}, 8, 8),
    "structured-8": Case("sparse", a_sparse(in_groups(CLASSES, DIM, 8)), {}, 8, 16),
    "nested": Case("nested", a_nested(some(CLASSES, DIM, 21)), MARGINS, 8, 8),
    "nested-dense": Case("nested", a_nested(EVERY), MARGINS, 8, 16),
    "lowbit": Case("lowbit", a_lowbit(11), {}, 8, 8),
    "lowbit-0": Case("lowbit", a_lowbit(0), {}, 8, 16),
    "lowbit-1": Case("lowbit", a_lowbit(DIM), {}, 8, 8),
}


class Built(NamedTuple):
    """A head in whole numbers, its C, and the float head of the same packed file."""

    head: IntegerHead
    folder: Path
    sample: np.ndarray
    module: str
    original: Head


def width(case: Case) -> int:
    """How many features the head reads."""
    if "mask" in case.arrays:
        return case.arrays["mask"].shape[1]
    return case.arrays["weight"].shape[1] if case.module == "linear" else DIM


def packed(case: Case, folder: Path) -> Path:
    """The packed file of a case; features have deviations of 2^-3 to 2^3."""
    exponent = (np.arange(width(case)) % 7 - 3).astype(np.int8)
    path = folder / f"int{case.precision}-5.bin"
    packing.write(path, Head(case.arrays | {"exponent": exponent}, case.settings), case.precision)
    return path


def features(dim: int, n: int = 64) -> np.ndarray:
    """Features (n, dim) of which few are negative, as a network with ReLUs gives them."""
    return (normal(n, dim) + 1) * np.exp2(np.arange(dim) % 7 - 3).astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    made = {}
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        path, sample = packed(case, folder), features(width(case))
        how = integer.calibrated(2 * sample, case.bits)
        head = build.build(case.module, path, how, sample)
        q, _ = how.quantized(sample)
        source.write(folder, head, packed=path, title=name, examples=q[:3])
        made[name] = Built(head, folder, sample, case.module, packing.read(path))
    return made


@pytest.fixture(scope="module")
def sanitized(built: dict[str, Built]) -> dict[str, emulated.Compiled]:
    return {name: emulated.compiled(one.folder, "sanitized") for name, one in built.items()}


def numbers(one: Built) -> np.ndarray:
    """Numbers q of the sample, random ones, and those at the ends of their range."""
    how, dim = one.head.reading.features, one.head.reading.dim
    ends, rng = np.iinfo(how.dtype), np.random.default_rng(dim)
    parts = [
        how.quantized(one.sample)[0],
        rng.integers(ends.min, ends.max + 1, (20, dim)),
        rng.choice([ends.min, ends.max], (20, dim)),
        np.full((1, dim), ends.min),
        np.full((1, dim), ends.max),
        np.full((1, dim), how.zero),
    ]
    return np.concatenate(parts).astype(how.dtype)


def assert_equal(told: emulated.Run, head: IntegerHead, q: np.ndarray) -> None:
    logits, saturated = head.logits(q)
    np.testing.assert_array_equal(told.logits, logits)
    np.testing.assert_array_equal(told.saturated, saturated)
    np.testing.assert_array_equal(told.classes, logits.argmax(1))


@pytest.mark.parametrize("name", CASES)
def test_the_c_equals_the_reference_to_the_bit(built, sanitized, name: str):
    """Under the sanitisers: no overflow, and nothing read or written past an end."""
    q = numbers(built[name])
    assert_equal(sanitized[name].run(q), built[name].head, q)


@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "lowrank",
        "tree-1",
        "tree-logits",
        "sparse",
        "structured",
        "nested",
        "lowbit",
        "shortlist",
    ],
)
def test_the_c_equals_the_reference_for_any_features(built, sanitized, name: str):
    head = built[name].head

    @settings(
        deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(arrays(head.reading.features.dtype, st.tuples(st.integers(1, 20), st.just(DIM))))
    def holds(q: np.ndarray) -> None:
        assert_equal(sanitized[name].run(q), head, q)

    holds()


@needs_arm
@pytest.mark.parametrize("processor", ARM)
@pytest.mark.parametrize("name", CASES)
def test_a_microcontroller_says_the_same(built, name: str, processor: str):
    q = numbers(built[name])[::3]
    assert_equal(emulated.compiled(built[name].folder, processor).run(q), built[name].head, q)


def test_no_sum_overflows_for_any_features(built):
    for name, one in built.items():
        reading = one.head.reading
        for weight in one.original.arrays.values():
            if weight.ndim == 2 and weight.dtype == np.float32 and weight.shape[1] == reading.dim:
                whole, _ = packing.quantize(weight, CASES[name].precision)
                sums = np.abs(whole.astype(int)).sum(1)
                assert sums.max() * reading.limit < 2**31, name
    assert built["linear-wide"].head.reading.limit < 2**15 - 1


@pytest.mark.parametrize("name", CASES)
def test_the_head_in_whole_numbers_predicts_what_the_fitted_one_does(built, name: str):
    one = built[name]
    how = one.head.reading.features
    q, out = how.quantized(one.sample)
    assert out == 0
    arrived = (how.scale * (q.astype(np.float64) - how.zero)).astype(np.float32)
    expected = fitting.predict(one.module, one.original, arrived)
    logits, saturated = one.head.logits(q)
    assert saturated.sum() == 0
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.96
    both = np.isfinite(expected) & (logits != integer.NOT_ASKED)
    assert both.sum() >= 0.98 * max(np.isfinite(expected).sum(), both.sum())
    off = np.ldexp(logits[both].astype(float), -one.head.fraction) - expected[both]
    assert np.abs(off).max() < 0.01 * np.abs(expected[both]).max()


def linear_of(weight: np.ndarray, folder: Path, bits: int = 8) -> IntegerHead:
    """A linear head without biases that reads features as they are, 0.5 a step."""
    arrays = {
        "weight": weight.astype(np.float32),
        "bias": np.zeros(len(weight), np.float32),
        "exponent": np.zeros(weight.shape[1], np.int8),
    }
    packing.write(folder / "int8-0.bin", Head(arrays), 8)
    how = integer.Features(0.5, 3, bits)
    sample = np.array([[0.0], [4.0]]).repeat(weight.shape[1], axis=1)
    return build.build("linear", folder / "int8-0.bin", how, sample)


@pytest.mark.parametrize(("last", "left_first"), [(0, True), (14, True), (15, False)])
def test_features_are_shifted_right_as_the_reference_does(
    tmp_path: Path, last: int, left_first: bool
):
    """At 15 the largest number, shifted to the left as far as others to the right, overflows."""
    exponent = np.array([0, 0, 0, 0, last], np.int8)
    packing.write(tmp_path / "int8-5.bin", Head(dense(4, 5) | {"exponent": exponent}), 8)
    ends = np.iinfo(np.int16)
    how = integer.Features(0.5, ends.min, 16)
    q = np.random.default_rng(0).integers(ends.min, ends.max, (50, 5), np.int16)
    q[:2] = [[ends.min], [ends.max]]
    sample = how.scale * (q.astype(np.float32) - how.zero)
    head = build.build("linear", tmp_path / "int8-5.bin", how, sample)
    assert head.reading.right > last
    assert head.reading.left_first == left_first
    source.write(tmp_path, head, packed=tmp_path / "int8-5.bin", title="right", examples=q[:1])
    assert_equal(emulated.compiled(tmp_path, "sanitized").run(q), head, q)


def test_weights_of_four_values_take_two_bits(built):
    program = built["twobit"].head.program()
    assert (program.macros["WEIGHT_BITS"], program.macros["ODD"]) == (2, 1)
    rows = PARENTS + CLASSES
    assert program.tables["parent_weight"].size + program.tables["child_weight"].size == 2 * rows


def test_logits_by_hand(tmp_path: Path):
    """Features 4, 1.5 and -1: 4 * 126 + 1.5 * 254 - 126 = 759, and -4 * 127 + 127 = -381."""
    head = linear_of(np.array([[126, 254, 126], [-127, 0, -127]]), tmp_path)
    logits, saturated = head.logits(np.array([[11, 6, 1]], np.int8))
    assert np.ldexp(logits.astype(float), -head.fraction).tolist() == [[759, -381]]
    assert saturated.tolist() == [0]


def test_the_first_of_equal_logits_wins(tmp_path: Path):
    head = linear_of(np.array([[1, 2], [4, 2], [4, 2], [2, 4]]), tmp_path)
    q = np.array([[5, 5], [3, 3], [4, 3], [3, 4]], np.int8)
    source.write(tmp_path, head, packed=tmp_path / "int8-0.bin", title="ties", examples=q)
    told = emulated.compiled(tmp_path, "sanitized").run(q)
    assert told.classes.tolist() == [1, 0, 1, 3]


def test_what_the_sample_holds_is_in_range_and_what_is_beyond_is_counted(tmp_path: Path):
    """The sample goes to 4, which is 8 steps: a shift of 11 holds it, and 16 steps no more."""
    head = linear_of(np.ones((2, 5)), tmp_path, bits=16)
    assert head.reading.shift.tolist() == [11] * 5
    q = np.array([[11] * 5, [18, 19, 100, -12, -13], [-128] * 5], np.int16)
    assert head.logits(q)[1].tolist() == [0, 3, 5]


def test_no_feature_of_8_bits_is_out_of_range_if_that_loses_nothing(tmp_path: Path):
    """They go 131 steps from zero, which a shift of 7 holds."""
    head = linear_of(np.ones((2, 5)), tmp_path)
    assert head.reading.shift.tolist() == [7] * 5
    assert head.logits(integer.ends(head.reading.features, 5))[1].tolist() == [0, 0]


def test_features_beyond_their_numbers_are_counted():
    how = integer.Features(0.5, 3, 8)
    numbers, out = how.quantized(np.array([[0.0, 62, 62.25, -65.5, -66, 0.25, -0.25]]))
    assert numbers.tolist() == [[3, 127, 127, -128, -128, 4, 3]]
    assert out == 2


@settings(deadline=None)
@given(
    arrays(np.float32, (4, 5), elements=st.floats(-1e4, 1e4, width=32)), st.sampled_from([8, 16])
)
def test_calibrated_numbers_hold_all_features_they_were_made_for(features, bits: int):
    how = integer.calibrated(features, bits)
    how.check()
    numbers, out = how.quantized(features)
    back = how.scale * (numbers.astype(float) - how.zero)
    assert out <= 1  # an end may be rounded out by half a step
    assert np.abs(back - features).max() <= 1.01 * how.scale


def test_weights_of_few_bits_take_few_bits_in_flash(built):
    """37 features: 10 words of eight bits, 5 of four (of 40), 3 of two (of 48)."""
    words = {
        name: built[name].head.program().tables["weight"].size // CLASSES
        for name in ("linear", "linear-int4", "linear-int2")
    }
    assert words == {"linear": 10, "linear-int4": 5, "linear-int2": 3}


def test_a_weight_of_a_structured_head_takes_two_bits_for_its_place(built):
    tables = built["structured"].head.program().tables
    assert tables["weight"].size == 12 * CLASSES  # 10 groups, in fours
    assert tables["code"].size == 3 * CLASSES
    assert built["sparse"].head.program().tables["step"].dtype == np.uint8
    assert built["sparse-far"].head.program().tables["step"].dtype == np.uint16


def test_weights_of_three_values_are_five_to_a_byte(built):
    tables = built["lowbit"].head.program().tables
    assert tables["two_code"].size == 4 * CLASSES  # 26 features
    assert tables["three_code"].size == 3 * CLASSES  # 11 features


@pytest.mark.parametrize("name", ["linear", "tree-logits"])
def test_the_example_checks_its_golden_vectors(built, name: str):
    folder = built[name].folder
    build_ = ["gcc", *emulated.WARNINGS, "example.c", "head.c", "-o", "example"]
    subprocess.run(build_, cwd=folder, check=True)
    assert subprocess.run(["./example"], cwd=folder, check=False).returncode == 0
    text = (folder / "example.c").read_text()
    *_, expected = text.split("expected[EXAMPLES] = {")
    wrong = expected.replace(expected.split()[0], "77,", 1)
    (folder / "wrong.c").write_text(text.replace(expected, wrong))
    subprocess.run([*build_[:-4], "wrong.c", "head.c", "-o", "wrong"], cwd=folder, check=True)
    assert subprocess.run(["./wrong"], cwd=folder, check=False).returncode == 1


def test_the_c_says_where_it_is_from(built):
    text = (built["sparse"].folder / "head.c").read_text()
    packed_file = built["sparse"].folder / "int8-5.bin"
    for fact in ("sparse", "int8, seed 5", sha256(packed_file), "37 features of 16 bits"):
        assert fact in text


def test_two_heads_fit_in_one_program(built, tmp_path: Path):
    for name, kind in (("one", "linear"), ("two", "nested")):
        one = built[kind]
        how = one.head.reading.features
        source.write(
            tmp_path,
            one.head,
            packed=one.folder / "int8-5.bin",
            title=kind,
            examples=how.quantized(one.sample[:1])[0],
            name=name,
        )
    (tmp_path / "main.c").write_text(
        '#include "one.h"\n#include "two.h"\nint main(void) { return 0; }\n'
    )
    command = ["gcc", *emulated.WARNINGS, "main.c", "one.c", "two.c", "-o", "both"]
    subprocess.run(command, cwd=tmp_path, check=True)


@needs_arm
def test_the_dual_multiplication_saves_instructions_and_changes_nothing_else(built):
    one = built["linear-wide"]
    path = one.folder / "int8-5.bin"
    q, _ = one.head.reading.features.quantized(one.sample)
    dual, loop = (
        emulated.measure(one.head, path, q, processor) for processor in ("cortex-m4", ARM[1])
    )
    assert dual.instructions_mean <= dual.instructions_worst
    assert dual.instructions_mean < 0.8 * loop.instructions_mean
    assert 3 * 1100 < dual.flash_bytes < 3 * 1100 + 1100 + 1000
    assert dual.ram_bytes == 4 * 3 + 4 + 2 * 1104


@needs_arm
def test_an_image_that_one_screen_decides_takes_the_fewest_instructions(built):
    one = built["nested"]
    q = numbers(one)
    logits, _ = one.head.logits(q)
    told = emulated.compiled(one.folder, "cortex-m4").run(q)
    left = (logits != integer.NOT_ASKED).sum(1)
    assert told.instructions[left == 1].min() < told.instructions[left > 1].min()


@pytest.mark.parametrize(
    ("module", "precision", "message"),
    [
        ("shift", 8, r"int8-5\.bin: shift has no C yet; these have: lasso, linear, .*twobit\."),
        ("linear", 32, r"float32-5\.bin holds floats.*pack the head at int8"),
    ],
)
def test_a_head_without_c_is_refused(tmp_path: Path, module: str, precision: int, message: str):
    name = {number: name for name, number in packing.PRECISIONS.items()}[precision]
    arrays = CASES["linear"].arrays | {"exponent": np.zeros(DIM, np.int8)}
    packing.write(tmp_path / f"{name}-5.bin", Head(arrays), precision)
    how = integer.calibrated(features(DIM), 8)
    with pytest.raises(InputError, match=message):
        build.build(module, tmp_path / f"{name}-5.bin", how, features(DIM))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (integer.Features(0.1, 0, 12), "12 bits have no C; give 8 or 16"),
        (integer.Features(0.0, 0, 8), r"scale of features is 0\.0; give a number above 0"),
        (integer.Features(float("nan"), 0, 8), "scale of features is nan"),
        (integer.Features(0.1, 128, 8), "zero of features is 128; give a number in -128 to 127"),
    ],
)
def test_features_that_make_no_sense_are_refused(how: integer.Features, message: str):
    with pytest.raises(InputError, match=message):
        how.check()


def test_what_does_not_go_together_is_refused(built, tmp_path: Path):
    one = built["linear"]
    path, how = one.folder / "int8-5.bin", one.head.reading.features
    with pytest.raises(InputError, match=r"reads 37 features, the sample is \(64, 36\)"):
        build.build("linear", path, how, one.sample[:, 1:])
    with pytest.raises(InputError, match="features are not finite"):
        build.build("linear", path, how, np.full((1, DIM), np.nan))
    with pytest.raises(InputError, match='"2nd" can\'t begin a name in C'):
        source.write(
            tmp_path, one.head, packed=path, title="", examples=numbers(one)[:1], name="2nd"
        )
    bad = CASES["linear"].arrays | {"bias": np.full(CLASSES, np.inf, np.float32)}
    packing.write(tmp_path / "int8-0.bin", Head(bad | {"exponent": np.zeros(DIM, np.int8)}), 8)
    with pytest.raises(InputError, match=r"int8-0\.bin holds numbers that are not finite"):
        build.build("linear", tmp_path / "int8-0.bin", how, one.sample)


def far_feature(folder: Path, exponent: int) -> tuple[Path, np.ndarray]:
    """A packed linear head whose first feature is always 3.7, read times 2^-exponent."""
    sample = normal(200, DIM)
    sample[:, 0] = 3.7
    exponents = np.where(np.arange(DIM) == 0, exponent, 0).astype(np.int8)
    arrays = dense(CLASSES, DIM) | {"exponent": exponents}
    arrays["weight"][:, 0] = 0
    packing.write(folder / "int8-5.bin", Head(arrays, {}), 8)
    return folder / "int8-5.bin", sample


@pytest.mark.parametrize("bits", [8, 16])
def test_a_c_that_gives_the_classes_of_the_packed_head_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int
):
    path, sample = far_feature(tmp_path, 15)
    head = build.build("linear", path, integer.calibrated(sample, bits), sample)
    q, _ = head.reading.features.quantized(sample)
    expected = fitting.predict("linear", packing.read(path), sample).argmax(1)
    with caplog.at_level("INFO", "treehead"):
        share = agreement.check("linear", path, head, sample, "look here")
    assert share == (head.logits(q)[0].argmax(1) == expected).mean() > 0.95
    (line,) = caplog.messages
    assert line == (
        f"{path}: its C gives {share:.2%} of 200 images of val the class of the packed head."
    )


@pytest.mark.fault("a head's C leaves the classes of the packed head", "one sentence")
@pytest.mark.parametrize(("bits", "least"), [(8, "90%"), (16, "95%")])
def test_a_c_that_leaves_the_classes_of_the_packed_head_is_refused(
    tmp_path: Path, bits: int, least: str
):
    """A constant that is read times 2^15 leaves no bit to the features beside it."""
    path, sample = far_feature(tmp_path, -15)
    how = integer.calibrated(sample, bits)
    head = build.build("linear", path, how, sample)
    message = rf"int8-5\.bin: its C gives [1-7]\d\.\d+% of 200 images.* less than {least},.*"
    with pytest.raises(InputError, match=message + r"coarse; look here\."):
        agreement.check("linear", path, head, sample, "look here")
    with pytest.raises(InputError, match=message + r"set comparison\.feature_bits to 16"):
        instructions.count(
            {"int8": path}, sample, sample, how, module="linear", processor="cortex-m4"
        )


def test_at_most_5000_images_are_compared_and_none_is_told():
    val = np.arange(12_000)
    some = agreement.spread(val, 5000)
    assert (len(some), some[0], some[-1]) == (4000, 0, 11_997)
    assert len(agreement.spread(val[:3], 5000)) == 3
    with pytest.raises(InputError, match=r"val has no images.*raise dataset\.val_fraction"):
        agreement.spread(val[:0], 5000)


def test_a_compiler_that_is_missing_is_named(built, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"gcc, size can't be found; install gcc"):
        emulated.compiled(built["linear"].folder, "host")

"""The whole classifier as one ONNX file: any picture in, the pipeline's own predictions out."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from own import encoded, noise
from test_compact_heads import CLASSES, DIM, HEADS, LOOP, data, examples, fit_one

from treehead import console
from treehead.artifacts import InputError
from treehead.backbones.backbone import build
from treehead.data import pictures
from treehead.data.embeddings import Examples
from treehead.data.rows import Rows
from treehead.deploy import classifier, packed, prediction, resizing
from treehead.deploy.model import About, Model, sealed
from treehead.deploy.modules import HeadModule
from treehead.evaluation import labelled
from treehead.heads import fitting

ABOUT = About(
    classes=["apple", "pear", "rye", "toast", "leek", "beet"],
    parents=["fruit", "bread", "root"],
    parent_of=[0, 0, 1, 1, 2, 2],
    image_size=8,
    resize="crop",
    head={"name": "linear", "module": "linear", "precision": "float32", "seed": 0},
    temperature=1.5,
    hashes={"backbone": "0" * 64},
)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_as_a_module_gives_the_logits_of_its_own_code(name: str):
    features, labels = data(1500)
    kind, own = HEADS[name]
    train = Examples(Rows(features[:900]), labels[:900], CLASSES)
    quick = LOOP | {"epochs": 2}
    head = fit_one(kind, train, own | {"training": quick})
    expected = fitting.predict(kind, head, features[900:])
    found = HeadModule(kind, head)(torch.from_numpy(features[900:])).numpy()
    looked_at = np.isfinite(expected)
    assert (np.isfinite(found) == looked_at).all()
    np.testing.assert_allclose(found[looked_at], expected[looked_at], rtol=1e-4, atol=1e-4)


def test_a_head_without_a_module_is_told():
    with pytest.raises(InputError, match="A custom head can't be exported; take one of lasso, li"):
        HeadModule("custom", fit_one("linear", examples(100), {"training": LOOP}))


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(8, 8), (8, 13), (40, 25), (5, 7), (200, 3), (6, 64)])
def test_a_picture_is_resized_in_the_graph_as_pillow_resizes_it(
    resize: str, shape: tuple[int, int]
):
    """But for its order of the axes, which shows only where a sum is out of range in between."""
    picture = 100 + noise(1, *shape) // 5
    expected = pictures.decode(encoded(picture), 8, resize).astype(int)
    given = torch.from_numpy(picture).permute(2, 0, 1)[None]
    found = resizing.resized(given, 8, resize)[0].numpy().astype(int)
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.7
    if shape == (8, 8):
        assert (found == expected).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[classifier.Classifier, Path]:
    torch.manual_seed(0)
    statistics = {"mean": [0.5] * 3, "std": [0.25] * 3}
    widths = {"widths": [4, 4, DIM], "middles": [4, 4, 4]}
    backbone = build("airbench_residual", widths, 32, statistics).eval()
    backbone.whiten(
        torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), np.uint8))
    )
    head = fit_one("tree", examples(600), HEADS["tree"][1] | {"training": LOOP})
    whole = classifier.Classifier(backbone, HeadModule("tree", head), ABOUT)
    path = tmp_path_factory.mktemp("deploy") / "classifier.onnx"
    classifier.export(whole, path)
    return whole, path


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (2, 40, 25)])
def test_the_file_gives_the_classifiers_own_probabilities(exported, shape: tuple[int, int, int]):
    whole, path = exported
    n, *sides = shape
    given = np.random.default_rng(2).integers(0, 256, (n, 3, *sides), np.uint8)
    with torch.inference_mode():
        expected = whole(torch.from_numpy(given)).numpy()
    found = Model(path, threads=1)(given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_the_file_says_what_it_is_and_names_no_path(exported):
    _, path = exported
    model = onnx.load(path)
    assert json.loads(model.metadata_props[0].value)["classes"] == ABOUT.classes
    assert Model(path, threads=1).about == ABOUT
    assert b"site-packages" not in path.read_bytes()


def test_a_second_export_has_the_same_bytes(exported, tmp_path: Path):
    whole, path = exported
    classifier.export(whole, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_file_that_is_no_classifier_of_ours_is_told(exported, tmp_path: Path):
    _, path = exported
    whole = path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.onnx is damaged or not an ONNX file"):
        Model(tmp_path / "cut.onnx", threads=1)
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        Model(tmp_path / "none.onnx", threads=1)
    model = onnx.load(path)
    told = json.loads(model.metadata_props[0].value)
    onnx.helper.set_model_props(model, {"treehead": json.dumps(told | {"format": 2})})
    onnx.save(model, tmp_path / "newer.onnx")
    with pytest.raises(InputError, match=r"newer\.onnx has format 2, and this treehead reads 1"):
        Model(tmp_path / "newer.onnx", threads=1)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(InputError, match=r"foreign\.onnx is no classifier of treehead"):
        Model(tmp_path / "foreign.onnx", threads=1)


@pytest.mark.fault("damaged metadata of a classifier", "one sentence")
def test_metadata_that_are_damaged_are_told(exported, tmp_path: Path):
    _, path = exported
    model = onnx.load(path)
    for place, text in enumerate(("{", "[]", '{"format": 1, "classes": []}')):
        onnx.helper.set_model_props(model, {"treehead": text})
        onnx.save(model, tmp_path / f"{place}.onnx")
        with pytest.raises(InputError, match=rf"{place}\.onnx has damaged metadata"):
            Model(tmp_path / f"{place}.onnx", threads=1)


@pytest.mark.fault(
    "a bit flips in a classifier that was taken away from its results", "one sentence"
)
def test_a_classifier_that_changed_is_told_wherever_it_is(exported, tmp_path: Path):
    _, path = exported
    whole, taken, told = path.read_bytes(), tmp_path / "taken.onnx", Counter()
    for place in np.linspace(0, len(whole) - 1, 200).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        taken.write_bytes(changed)
        with pytest.raises(InputError, match=r"taken\.onnx (is|has) ") as error:
            Model(taken, threads=1)
        told["is not as treehead made it" in str(error.value)] += 1
    assert told[True] > 100, "weights"


def test_the_seal_is_metadata_that_onnx_reads(exported):
    _, path = exported
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    content, last = path.read_bytes(), model.metadata_props[-1]
    assert last.key == "treehead.sha256"
    assert last.value == sha256(content[: -len(last.SerializeToString()) - 2]).hexdigest()


@pytest.mark.fault("a classifier that fails when it runs", "one sentence")
def test_a_classifier_that_fails_when_it_runs_is_told(exported, tmp_path: Path):
    _, path = exported
    model = onnx.load(path)
    renamed(model, "probabilities", "before")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7]), "seven"))
    last = onnx.helper.make_node("Reshape", ["before", "seven"], ["probabilities"])
    model.graph.node.append(last)
    (tmp_path / "other.onnx").write_bytes(sealed(model.SerializeToString()))
    damaged = Model(tmp_path / "other.onnx", threads=1)
    with pytest.raises(InputError, match=r"other\.onnx is damaged or not an ONNX file"):
        damaged(np.zeros((1, 3, 8, 8), np.uint8))


def renamed(model: onnx.ModelProto, name: str, other: str) -> None:
    """Let a node's output have another name."""
    for node in model.graph.node:
        node.output[:] = [other if output == name else output for output in node.output]


@pytest.mark.fault("a classifier whose output has another name", "one sentence")
def test_a_classifier_that_gives_something_else_is_told(exported, tmp_path: Path):
    _, path = exported
    model = onnx.load(path)
    renamed(model, "probabilities", "logits")
    model.graph.output[0].name = "logits"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx is damaged: it maps pictures to probabili"):
        Model(tmp_path / "other.onnx", threads=1)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("0.png", "0")], "numbers its classes and does not name them"),
        ([("0.png", "apple"), ("1.png", "fig")], "does not know, the first 'fig'"),
    ],
)
def test_labels_that_are_no_names_of_the_classifier_are_told(
    rows: list[tuple[str, str]], sentence: str, tmp_path: Path
):
    for name, _ in rows:
        (tmp_path / name).write_bytes(encoded(noise(0)))
    lines = ["path,label", *(",".join(row) for row in rows)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=sentence):
        labelled.look(str(tmp_path / "list.csv"), ABOUT)


def test_pictures_without_a_label_are_left_out_and_told(tmp_path: Path, capsys):
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(encoded(noise(0)))
    (tmp_path / "classes.csv").write_text(f"class name,class id\n{ABOUT.classes[1]},0\n")
    (tmp_path / "list.csv").write_text("path,label\n0.png,-1\n1.png,0\n")
    with console.shown():
        found = labelled.look(str(tmp_path / "list.csv"), ABOUT)
    assert list(found.source.read(found.rows)) == [tmp_path / "1.png"]
    assert found.label.tolist() == [1]
    assert "left out: 1 with the label -1, which is none" in capsys.readouterr().err


def test_the_c_of_a_head_of_floats_is_that_of_its_whole_numbers():
    files = [f"heads/linear/packed/{name}.bin" for name in ("float32-0", "int8-1", "int8-0")]
    found = packed.of_few_bits(packed.taken([], files, {"linear": "linear"}), files)
    assert found == packed.Packed(Path(files[2]), "linear", "linear")
    with pytest.raises(InputError, match="add int8 or fewer bits to precisions"):
        packed.of_few_bits(packed.taken([], files, {"linear": "linear"}), files[:2])


def test_pictures_are_predicted_in_their_order_and_a_broken_one_is_a_row(exported, tmp_path: Path):
    _, path = exported
    images = [noise(seed) for seed in range(150)]
    contents = [encoded(image) for image in images]
    contents[70] = b"no picture"
    model = Model(path, threads=1)
    rows = list(prediction.predict(model, contents, threads=2))
    assert len(rows) == 150
    assert rows[70].probabilities is None
    assert "not a picture" in rows[70].reason
    for place in (0, 69, 71, 149):
        alone = model(images[place].transpose(2, 0, 1)[None])[0]
        np.testing.assert_allclose(rows[place].probabilities, alone, atol=1e-5)


def test_the_temperature_of_logits_that_are_twice_too_sure_is_two():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (shares.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert abs(classifier.temperature(2 * logits, labels) - 2) < 0.06


def test_images_whose_class_was_not_looked_at_do_not_count_for_the_temperature():
    logits = np.array([[1.0, 0.0], [-np.inf, 3.0], [0.0, 0.5]])
    seen = classifier.temperature(logits[[0, 2]], np.array([0, 1]))
    assert classifier.temperature(logits, np.array([0, 0, 1])) == seen
    with pytest.raises(InputError, match="val has no image"):
        classifier.temperature(logits[[1]], np.array([0]))

"""The model card of a run, in the hub's format: every figure is one of a file of the run.

What no file says is left out. The format: https://huggingface.co/docs/hub/model-cards
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from treehead import artifacts, records
from treehead.artifacts import InputError
from treehead.backbones import sessions
from treehead.config import architectures, outputs, settings
from treehead.data import catalog, taxonomy
from treehead.data.taxonomy import Taxonomy
from treehead.deploy import published
from treehead.deploy.model import About

# With the file of a classifier, and a line on the options of its session.
_USE = """```sh
treehead predict {0} path/to/pictures --csv rows.csv
```

Or with onnxruntime alone, for a picture whose mode is RGB (`treehead predict` reads others too):

```python
import json

import numpy as np
import onnxruntime
from PIL import Image

options = onnxruntime.SessionOptions()
{1}session = onnxruntime.InferenceSession("{0}", options)
picture = np.asarray(Image.open("picture.png")).transpose(2, 0, 1)
(probabilities,) = session.run(["probabilities"], {{"pictures": picture[None]}})
about = json.loads(session.get_modelmeta().custom_metadata_map["treehead"])
print(about["classes"][probabilities[0].argmax()])
```"""

_EXACT = 'options.add_session_config_entry("{}", "{}")\n'.format(*sessions.EXACT)

_CONTENT = {
    published.CLASSIFIER: "the classifier: pictures in, class probabilities out",
    published.INT8: "the classifier in whole numbers of 8 bits",
    **dict.fromkeys(published.C[published.CLASSIFIER], "the head as C99 in whole numbers"),
    **dict.fromkeys(published.C[published.INT8], "the same for features of the 8-bit backbone"),
    published.BACKBONE: "the backbone: images in, features out",
    published.CLASSES: "the classes and their parents",
    published.TREE: "figures of the tree",
    published.OWN_HEAD: "figures of the head that the backbone was trained with",
    published.CHOSEN: "figures of the recommended head",
}

Report = dict[str, Any]
Rows = Iterable[tuple[object, ...]]


class _Run(NamedTuple):
    """What the files of a run say; a report is empty if its file is not there.

    Args:
        results: the folder.
        files: what is published of it, by path.
        classifiers: what they are, by file.
        measured: their figures on test, by file, where they are of these very files.
        config: the configuration.
        classes: the classes and their parents.
        tree: the metrics of the tree.
        own_head: those of the head that the backbone was trained with.
        chosen: the chosen head with its test figures.
        cost: of the backbone.
        weights: where the first weights are from.
        data: where the images are from.
    """

    results: Path
    files: list[str]
    classifiers: dict[str, About]
    measured: dict[str, Report]
    config: Report
    classes: Taxonomy
    tree: Report
    own_head: Report
    chosen: Report
    cost: Report
    weights: Report
    data: Report


def text(
    results: str | Path,
    license: str | None = None,
    deployed: Collection[str] = published.DEPLOYED,
) -> str:
    """The model card of a results folder: its metadata and its Markdown.

    Args:
        results: the folder. The working folder is the project's, whose `resources/` tell where
            weights and images are from.
        license: of what is published, by the hub's identifier; without it, the card has none.
        deployed: as for `published.files`.
    """
    try:
        return _written(_read(Path(results), deployed), license)
    except KeyError as error:
        raise InputError(
            f"{results} was made by another version of treehead, it has no {error}; make it again "
            f"with {outputs.making(results, published.TREE)}."
        ) from error


def _written(run: _Run, license: str | None) -> str:
    parts = {
        "Intended use": _intended_use(run),
        "Files": _table(("file", "content", "bytes", "SHA-256"), _files(run)),
        "How to run": _how_to_run(run),
        "Data": _pairs(_data(run)),
        "Results on test": _table(("", "share", "95 % interval"), _figures(run)),
        "Results by parent": _by_parent(run),
        "Size": _sizes(run),
        "Weights": _pairs(_weights(run)),
        "How it was made": _pairs(_made(run)),
    }
    body = "".join(f"## {title}\n\n{part}\n\n" for title, part in parts.items())
    head = _metadata(run, license)
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n\n# {head.model_name}\n\n{body.rstrip()}\n"))


def _read(results: Path, deployed: Collection[str]) -> _Run:
    files = published.files(results, deployed)
    classifiers = published.classifiers(results, deployed)
    config, weights = outputs.recorded(results), {}
    tree = artifacts.read_json(results / published.TREE)
    with suppress(KeyError):  # a configuration of an older version, which named the file otherwise
        weights = _optional(f"{outputs.weights(config)}.json")
    return _Run(
        results=results,
        files=files,
        classifiers=classifiers,
        measured={file: _measured(results, file) for file in classifiers},
        config=config,
        classes=taxonomy.read(results / published.CLASSES),
        tree=tree,
        own_head=_optional(results / published.OWN_HEAD),
        chosen=_optional(results / published.CHOSEN),
        cost=_optional(results / "backbone/cost.json"),
        weights=weights,
        data=_origin(f"{outputs.dataset(config)}/provenance.json", tree["input_sha256"]),
    )


def _origin(path: str, hashes: dict[str, str]) -> Report:
    """Where the images are from; empty if the tables beside the file are not those of the run."""
    tables = [table for table in hashes if Path(table).parent == Path(path).parent]
    same = all(
        Path(table).exists() and artifacts.sha256(table) == hashes[table] for table in tables
    )
    return _optional(path) if tables and same else {}


def _measured(results: Path, file: str) -> Report:
    """Figures of a classifier; empty if those beside it are not of this file."""
    figures = results / file.replace("classifier", "metrics").replace(".onnx", ".json")
    report = _optional(figures)
    return report if report.get("sha256") == artifacts.sha256(results / file) else {}


def _optional(path: str | Path) -> Report:
    records.check([path])
    return artifacts.read_json(path) if Path(path).exists() else {}


def _metadata(run: _Run, license: str | None) -> ModelCardData:
    """What the hub searches by; the accuracy is the classifier's if it is measured."""
    name, source = (run.tree["dataset"][key] for key in ("name", "source"))
    hosted = source if catalog.is_hub(source) else None
    architecture = architectures.label(run.tree["backbone"]["architecture"])
    tree = run.chosen["test"]["file_accuracy"] if run.chosen else run.tree["accuracy"]
    accuracy = run.measured[published.CLASSIFIER].get("accuracy", tree)
    result = EvalResult(
        task_type="image-classification",
        dataset_type=hosted or name,
        dataset_name=name,
        dataset_split="test",
        dataset_revision=run.data.get("revision"),
        metric_type="accuracy",
        metric_value=accuracy,
    )
    return ModelCardData(
        model_name=f"{architecture} on {name}",
        library_name="treehead",
        pipeline_tag="image-classification",
        tags=["onnx", "tinyml", "hierarchical-classification", architecture],
        datasets=[hosted] if hosted else None,
        metrics=["accuracy"],
        license=license,
        eval_results=[result],
    )


def _intended_use(run: _Run) -> str:
    dataset = run.tree["dataset"]
    classes, parents = len(run.classes.fine_names), len(run.classes.parent_names)
    return (
        f"It says which of {classes:,} classes under {parents:,} parents a picture shows, if the "
        f"picture is like those of {dataset['name']} ({dataset['note']}). It does not refuse: a "
        f"picture of anything else gets one of the classes of `{published.CLASSES}` as well."
    )


def _files(run: _Run) -> Rows:
    for file in run.files:
        path = run.results / file
        content = _CONTENT.get(file, "the recommended head, packed")
        yield f"`{file}`", content, path.stat().st_size, f"`{artifacts.sha256(path)}`"


def _how_to_run(run: _Run) -> str:
    size, head = run.config["dataset"]["image_size"], run.classifiers[published.CLASSIFIER].head
    told = (
        f"`{published.CLASSIFIER}` takes `pictures`, uint8 (n, 3, height, width) in RGB, and "
        "gives `probabilities`, float32 (n, classes). It resizes and normalises pictures itself, "
        f"and its metadata name the classes. Its head is {head['name']}, with the weights of "
        f"{head['precision']}."
    )
    exact = published.INT8 in run.classifiers
    if exact:
        told += (
            f" `{published.INT8}` runs in the same way, with the option "
            f"`{sessions.EXACT[0]}`: without it, onnxruntime's sums overflow on x86-64 "
            "processors that lack VNNI, and classes are wrong; on those that have it, the option "
            "only costs speed."
        )
    backbone = (
        f"`{published.BACKBONE}` maps `images`, uint8 (n, 3, {size}, {size}) in RGB, to "
        "`features`, float32 (n, dim); it resizes and normalises them itself."
    )
    for header, source in published.C.values():
        if {header, source} <= {*run.files}:
            backbone += (
                f" `{source}` maps features as whole numbers to a class, without heap or library; "
                f"`{header}` has their scale."
            )
    use = _USE.format(published.CLASSIFIER, _EXACT if exact else "")
    return f"{told}\n\n{use}\n\n{backbone}"


def _data(run: _Run) -> Rows:
    dataset, source = run.tree["dataset"], run.tree["dataset"]["source"]
    yield "data set", f"{dataset['name']}: {dataset['note']}"
    # Of files only the name: where they lie is nobody else's business.
    yield "source", source if catalog.is_hub(source) else Path(source).name
    yield "revision", run.data.get("revision")
    yield from ((f"{part} images", n) for part, n in dataset.get("images", {}).items() if n)
    yield "test images that are measured", run.tree["n_test"]
    yield "broken images left out", dataset.get("broken")
    yield from ((f"leaks from test, {kind}", n) for kind, n in dataset.get("leaks", {}).items())
    hashed = run.data.get("sha256", {}) | run.tree["input_sha256"]
    for path, digest in hashed.items():
        if not path.endswith(".safetensors"):
            yield f"SHA-256 of {Path(path).name}", f"`{digest}`"


def _figures(run: _Run) -> Rows:
    """Shares of the test images, with their intervals where the run has them."""
    for name, share, interval in _shares(run):
        if share is not None:
            yield name, _percent(share), " to ".join(map(_percent, interval or ()))


def _shares(run: _Run) -> Iterator[tuple[str, float | None, list[float] | None]]:
    """Name, value and 95 % interval; None is what a file does not say."""
    for file, figures in run.measured.items():
        yield f"accuracy of {file}", figures.get("accuracy"), figures.get("accuracy_ci95")
        error = figures.get("expected_calibration_error")
        yield f"calibration error of {file}", error, None
    if run.chosen:
        head, test = run.chosen["head"], run.chosen["test"]
        yield f"accuracy of {head}, packed", test["file_accuracy"], test["file_ci95"]
        yield f"accuracy of {head}, mean over seeds", test["accuracy"], test["ci95"]
        yield "accuracy of the full head, mean over seeds", test["full"], None
    for name, share in run.own_head.items():
        if interval := run.own_head.get(f"{name}_ci95"):
            yield f"{name.replace('_', ' ')} of the backbone's own head", share, interval
    tree = run.tree
    yield "accuracy of the tree, one parent asked", tree["accuracy"], tree["accuracy_ci95"]
    for k, best in tree["top_k"].items():
        if k != "1":
            yield f"accuracy of the tree, {k} parents asked", best["accuracy"], None
    yield "balanced accuracy of the tree", tree.get("balanced_accuracy"), None
    yield "macro-F1 of the tree", tree.get("macro_f1"), None
    yield "accuracy of its parents", tree["parent_accuracy"], None
    yield "accuracy of its children, given the parent", tree["child_given_true_parent"], None
    yield "calibration error of the tree", tree.get("expected_calibration_error"), None


def _by_parent(run: _Run) -> str:
    shown = ("parent", "recall", "child accuracy, given the parent", "test images")
    rows = (
        (row["name"], _percent(row["recall"]), _percent(row["child_accuracy"]), row["count"])
        for row in run.tree["per_parent"]
    )
    return f"Of the tree.\n\n{_table(shown, rows)}"


def _sizes(run: _Run) -> str:
    parts = {"backbone": run.cost | {"bytes": (run.results / published.BACKBONE).stat().st_size}}
    if run.chosen:
        parts[run.chosen["head"]] = run.chosen["cost"]
    parts["tree"] = run.tree
    shown = ("parameters", "bytes", "macs", "macs_worst")
    rows = (
        (name, *(round(of[cost]) if cost in of else "" for cost in shown))
        for name, of in parts.items()
    )
    return _table(("", "parameters", "bytes", "MACs, mean", "MACs, worst"), rows)


def _weights(run: _Run) -> Rows:
    """What the training started from, as far as it is recorded, and what it was."""
    origin, source = run.weights, run.config["backbone"]["weights"]
    yield "started from", source if source in settings.NAMED_WEIGHTS else Path(source).name
    yield "revision", origin.get("revision")
    yield "commit", origin.get("commit")
    yield "SHA-256 of that file", _code(origin.get("source_sha256"))
    yield "SHA-256 of the first weights", _code(origin.get("sha256"))
    finetune = run.config["finetune"]
    yield "epochs of training", finetune["epochs"]
    yield "trained for", finetune["objective"] if finetune["epochs"] else None
    for path, digest in run.tree["input_sha256"].items():
        if path.endswith(".safetensors"):
            yield "SHA-256 of the trained weights", _code(digest)


def _made(run: _Run) -> Rows:
    yield "seed of backbone and split", str(run.config["seed"])
    yield "seeds of the heads", ", ".join(map(str, run.config["seeds"]))
    if run.chosen:
        yield "seed of this head's file", str(run.chosen["seed"])
        yield "SHA-256 of this head's file", f"`{run.chosen['sha256']}`"
    yield "SHA-256 of the configuration", _code(run.tree["config_sha256"])
    model = onnx.load(run.results / published.BACKBONE, load_external_data=False)
    yield "exported with", f"{model.producer_name} {model.producer_version}"
    yield "ONNX opset", max(one.version for one in model.opset_import if not one.domain)
    with suppress(metadata.PackageNotFoundError):  # a clone that is not installed
        yield "card written with", f"treehead {metadata.version('treehead')}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _code(digest: str | None) -> str | None:
    return digest and f"`{digest}`"


def _pairs(rows: Rows) -> str:
    """A table of names and values, without those that are None."""
    return _table(("", ""), (row for row in rows if row[1] is not None))


def _table(head: tuple[str, ...], rows: Rows) -> str:
    """A table of Markdown; whole numbers have their thousands separated."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    told = f"{value:,}" if isinstance(value, int) else str(value)
    return told.replace("|", r"\|").replace("\n", " ")

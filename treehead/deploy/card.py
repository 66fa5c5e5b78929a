"""The model card of a run, in the hub's format: every figure is one of a file of the run.

What no file says is left out. The format: https://huggingface.co/docs/hub/model-cards
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.config import architectures, outputs, settings
from treehead.data import catalog, taxonomy
from treehead.data.taxonomy import Taxonomy

BACKBONE, TREE, CHOSEN = "backbone/backbone.onnx", "hierarchy100/metrics.json", "chosen.json"
_OWN_HEAD, _CLASSES = "backbone/metrics.json", "taxonomy.json"

_USE = """```python
from pathlib import Path

import onnxruntime

from treehead.data import pictures, taxonomy
from treehead.heads import fitting, packing

image = pictures.decode(Path("picture.png").read_bytes(), {size}, "{resize}")
backbone = onnxruntime.InferenceSession("{backbone}")
(features,) = backbone.run(["features"], {{"images": image[None]}})
logits = fitting.predict("{module}", packing.read("{file}"), features)
print(taxonomy.read("{classes}").fine_names[logits[0].argmax()])
```"""

Report = dict[str, Any]
Rows = Iterable[tuple[object, ...]]


class _Run(NamedTuple):
    """What the files of a run say; a report is empty if its file is not there.

    Args:
        results: the folder.
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
    config: Report
    classes: Taxonomy
    tree: Report
    own_head: Report
    chosen: Report
    cost: Report
    weights: Report
    data: Report


def files(results: str | Path) -> list[str]:
    """What is published beside the card, by its path in the results folder.

    Raises:
        InputError: the folder is unfinished, or the chosen head is not the one that was measured.
    """
    results = Path(results)
    for file in (TREE, BACKBONE, _CLASSES, "config.yaml"):
        if not (results / file).exists():
            raise InputError(
                f"{results} is unfinished, it has no {file}; make it with "
                f"{outputs.making(results, file)}."
            )
    found = [BACKBONE, _CLASSES, TREE]
    found += [file for file in (_OWN_HEAD, CHOSEN) if (results / file).exists()]
    if CHOSEN in found:
        chosen = artifacts.read_json(results / CHOSEN)
        head = results / chosen["file"]
        if not head.exists() or artifacts.sha256(head) != chosen["sha256"]:
            raise InputError(
                f"{head} is not the head that {results / CHOSEN} measured; make both with "
                f"{outputs.making(results, CHOSEN)}."
            )
        found.append(chosen["file"])
    return found


def text(results: str | Path, license: str | None = None) -> str:
    """The model card of a results folder: its metadata and its Markdown.

    Args:
        results: the folder. The working folder is the project's, whose `resources/` tell where
            weights and images are from.
        license: of what is published, by the hub's identifier; without it, the card has none.
    """
    try:
        files(results)
        return _written(_read(Path(results)), license)
    except KeyError as error:
        raise InputError(
            f"{results} was made by another version of treehead, it has no {error}; make it again "
            f"with {outputs.making(results, TREE)}."
        ) from error


def _written(run: _Run, license: str | None) -> str:
    parts = {
        "Intended use": _intended_use(run),
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


def _read(results: Path) -> _Run:
    config, tree, weights = outputs.recorded(results), artifacts.read_json(results / TREE), {}
    with suppress(KeyError):  # a configuration of an older version, which named the file otherwise
        weights = _optional(f"{outputs.weights(config)}.json")
    return _Run(
        results=results,
        config=config,
        classes=taxonomy.read(results / _CLASSES),
        tree=tree,
        own_head=_optional(results / _OWN_HEAD),
        chosen=_optional(results / CHOSEN),
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


def _optional(path: str | Path) -> Report:
    return artifacts.read_json(path) if Path(path).exists() else {}


def _metadata(run: _Run, license: str | None) -> ModelCardData:
    """What the hub searches by; the accuracy is that of the chosen head's file, else the tree's."""
    name, source = (run.tree["dataset"][key] for key in ("name", "source"))
    hosted = source if catalog.is_hub(source) else None
    architecture = architectures.label(run.tree["backbone"]["architecture"])
    accuracy = run.chosen["test"]["file_accuracy"] if run.chosen else run.tree["accuracy"]
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
        f"picture of anything else gets one of the classes of `{_CLASSES}` as well."
    )


def _how_to_run(run: _Run) -> str:
    size, resize = (run.config["dataset"][key] for key in ("image_size", "resize"))
    reads = (
        f"`{BACKBONE}` maps `images`, uint8 (n, 3, {size}, {size}) in RGB, to `features`, float32 "
        "(n, dim); it resizes and normalises them itself."
    )
    if not run.chosen:
        return f"{reads} No head is here: the figures are those of a tree on these features."
    head, names = run.chosen, {"backbone": BACKBONE, "classes": _CLASSES}
    use = _USE.format(size=size, resize=resize, module=head["module"], file=head["file"], **names)
    return f"{reads} The head is {head['head']}, its weights {head['precision']}.\n\n{use}"


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
    if run.chosen:
        head, test = run.chosen["head"], run.chosen["test"]
        yield f"accuracy of {head}, this file", test["file_accuracy"], test["file_ci95"]
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
    parts = {"backbone": run.cost | {"bytes": (run.results / BACKBONE).stat().st_size}}
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
    model = onnx.load(run.results / BACKBONE, load_external_data=False)
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

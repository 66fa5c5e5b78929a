"""Which files of a results folder are published, and that they belong together."""

from collections.abc import Collection
from itertools import chain
from pathlib import Path

from treehead import artifacts, records
from treehead.artifacts import InputError
from treehead.config import outputs
from treehead.deploy import prediction
from treehead.deploy.model import About

BACKBONE, TREE, CHOSEN = "backbone/backbone.onnx", "hierarchy100/metrics.json", "chosen.json"
OWN_HEAD, CLASSES = "backbone/metrics.json", "taxonomy.json"
CLASSIFIER, INT8 = prediction.FILES
# The head of each classifier as C.
C = {
    CLASSIFIER: ("deploy/head.h", "deploy/head.c"),
    INT8: ("deploy/int8/head.h", "deploy/int8/head.c"),
}
# What is taken away; all but the first are published if they are there.
DEPLOYED = (CLASSIFIER, INT8, *chain(*C.values()))


def files(results: str | Path, deployed: Collection[str] = DEPLOYED) -> list[str]:
    """What is published beside the card, by its path in the results folder.

    Args:
        results: the folder.
        deployed: what is looked for in its `deploy/`.

    Raises:
        InputError: the folder is unfinished, or a file is of another backbone or head than its own.
    """
    results = Path(results)
    for file in (TREE, BACKBONE, CLASSES, "config.yaml", CLASSIFIER):
        if not (results / file).exists():
            raise InputError(
                f"{results} is unfinished, it has no {file}; make it with "
                f"{outputs.making(results, file)}."
            )
    further = [file for file in (OWN_HEAD, CHOSEN) if (results / file).exists()]
    if CHOSEN in further:
        further.append(_chosen(results))
    known = classifiers(results, deployed)
    there = {file for file in deployed if (results / file).exists()}
    source = {file: [part for part in C[file] if part in there] for file in known}
    for file, parts in source.items():
        if parts:
            _check_c(results, file, known[file])
    found = [*known, *chain(*source.values()), BACKBONE, CLASSES, TREE, *further]
    records.check(results / file for file in found)
    return found


def classifiers(results: Path, deployed: Collection[str] = DEPLOYED) -> dict[str, About]:
    """What the classifiers of a results folder are, by their file."""
    there = [file for file in (CLASSIFIER, INT8) if file in deployed and (results / file).exists()]
    return {file: prediction.of_results(results, file).about for file in there}


def _check_c(results: Path, classifier: str, about: About) -> None:
    """Check that a classifier's head.h names a packed file of its head by its hash."""
    header = C[classifier][0]
    told = artifacts.read_text(results / header)
    model = results / "int8" if classifier == INT8 else results
    packed = model.glob(f"heads/{about.head['name']}/packed/*-{about.head['seed']}.bin")
    if not any(artifacts.sha256(file) in told for file in packed):
        raise InputError(
            f"{results / header} is not of the head of {classifier}; make it again with "
            f"{outputs.making(results, header)}, or remove it."
        )


def _chosen(results: Path) -> str:
    """The packed head that was chosen, by its path in the results folder."""
    chosen = artifacts.read_json(results / CHOSEN)
    head = results / chosen["file"]
    if not head.exists() or artifacts.sha256(head) != chosen["sha256"]:
        raise InputError(
            f"{head} is not the head that {results / CHOSEN} measured; make both with "
            f"{outputs.making(results, CHOSEN)}."
        )
    return chosen["file"]

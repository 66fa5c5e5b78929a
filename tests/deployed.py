"""What is taken away: a chosen head of the tiny run, and classifiers that are quick to make."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from treehead import artifacts
from treehead.data import embeddings, taxonomy
from treehead.deploy import published
from treehead.deploy.model import KEY, About, sealed
from treehead.evaluation import choice
from treehead.heads import fitting, packing


def choose(results: Path) -> dict:
    """Pack the linear head, and write a chosen.json that chooses it, as the pipeline would."""
    val, test = (
        embeddings.read(results / f"embeddings/{part}.safetensors") for part in ("val", "test")
    )
    folder = results / "heads/linear/packed"
    folder.mkdir(parents=True)
    columns = {"fine": test.fine}
    for seed, head in fitting.load(results / "heads/linear/head.safetensors").items():
        path = folder / f"int4-{seed}.bin"
        artifacts.write_bytes(path, packing.pack(head, 4))
        logits = fitting.predict("linear", packing.read(path), test.features[0])
        columns[path.stem] = logits.argmax(1)
    named = {"linear": {"module": "linear", "setting": ""}}
    packed = [choice.measure(path, named, val) for path in sorted(folder.glob("*.bin"))]
    bounds = {"by": "bytes", "margin": 0.005, "at_most": {}}
    chosen = choice.choose(packed, full=("linear", "int4"), **bounds)
    chosen = choice.with_test(chosen, {"linear": pd.DataFrame(columns)})
    artifacts.write_json(results / "chosen.json", chosen)
    return chosen


def take_away(results: Path, *files: str) -> None:
    """Write classifiers for a results folder, and head.h and head.c if those are among the files.

    Their head is the chosen one if there is one.
    """
    tree, head = taxonomy.read(results / "taxonomy.json"), {"head": "linear", "precision": "int4"}
    head |= {"module": "linear", "seed": 0}
    if (results / "chosen.json").exists():
        head |= artifacts.read_json(results / "chosen.json")
    packed = results / f"heads/{head['head']}/packed/{head['precision']}-{head['seed']}.bin"
    parts = {"backbone": results / "backbone/weights.safetensors", "head": packed}
    hashes = {name: artifacts.sha256(file) for name, file in parts.items() if file.exists()}
    about = About(
        classes=list(tree.fine_names),
        parents=list(tree.parent_names),
        parent_of=tree.parent_of().tolist(),
        image_size=8,
        resize="crop",
        head={"name": head["head"], **{key: head[key] for key in ("module", "precision", "seed")}},
        temperature=1.0,
        hashes=hashes,
    )
    for file in files:
        if file == published.INT8 and packed.exists():
            of_int8 = results / "int8" / packed.relative_to(results)
            of_int8.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(packed, of_int8)
        (results / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".onnx"):
            classifier(results / file, about)
        else:
            (results / file).write_text(f"/* {hashes['head']} */")


def classifier(path: Path, about: About, **changes: Any) -> None:
    """Write a classifier that knows mean colours: its first classes are red, green and blue.

    `changes` are made to its metadata.
    """
    weight = np.eye(3, len(about.classes), dtype=np.float32) / 64
    nodes = [
        helper.make_node("Cast", ["pictures"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "sides"], ["colours"], keepdims=0),
        helper.make_node("MatMul", ["colours", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    given = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", 3, "h", "w"])
    made = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", weight.shape[1]])
    constants = {"sides": np.array([2, 3]), "weight": weight}
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "colours", [given], [made], tensors)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {KEY: json.dumps(asdict(about) | changes)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed(model.SerializeToString()))

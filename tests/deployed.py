"""A results folder with a chosen head, from the tiny run: its full head is packed and measured."""

from pathlib import Path

import pandas as pd

from treehead import artifacts
from treehead.data import embeddings
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
    packed = [choice.measure(path, named, val) for path in sorted(folder.iterdir())]
    bounds = {"by": "bytes", "margin": 0.005, "at_most": {}}
    chosen = choice.choose(packed, full=("linear", "int4"), **bounds)
    chosen = choice.with_test(chosen, {"linear": pd.DataFrame(columns)})
    artifacts.write_json(results / "chosen.json", chosen)
    return chosen

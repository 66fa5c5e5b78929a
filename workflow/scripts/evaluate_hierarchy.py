"""Put the tree together from its reduced tensors, and measure it on test and on val."""

import torch

from treehead import artifacts, console
from treehead.data import embeddings, taxonomy
from treehead.evaluation import predictions, trees
from treehead.heads import fitting, seeds
from treehead.heads.linear import Linear
from treehead.hierarchy import reduction
from treehead.hierarchy.tree import Hierarchy

settings = snakemake.params.evaluation
with console.job(snakemake.log[0]):
    torch.set_num_threads(settings["threads"])
    tree = Hierarchy(
        taxonomy=taxonomy.read(snakemake.input.taxonomy, settings["classes"]),
        parent=Linear(**artifacts.read_tensors(snakemake.input.parent)),
        child=[
            Linear(reduction.load(weight), reduction.load(bias))
            for weight, bias in zip(snakemake.input.weights, snakemake.input.biases, strict=True)
        ],
        child_input=settings["child_input"],
    )
    fitted = artifacts.read_tensors(snakemake.input.linear)
    flat = fitting.linear(seeds.of_seed(fitted, settings["flat_seed"]))
    val = embeddings.read(snakemake.input.val)
    test = embeddings.read(snakemake.input.test)
    chosen_by, _ = trees.evaluate(tree, flat, val, settings["top_k"])
    report, predicted = trees.evaluate(tree, flat, test, settings["top_k"])
    report |= {
        "n_test": len(test.fine),
        "val": {key: chosen_by[key] for key in ("accuracy", "parent_accuracy", "top_k", "flat")},
        "dataset": settings["dataset"],
        "backbone": settings["backbone"],
        "config_sha256": artifacts.sha256(snakemake.input.config),
        "input_sha256": {path: artifacts.sha256(path) for path in snakemake.input.hashed},
    }
    columns = {"fine": test.fine, "predicted": predicted}
    predictions.write(snakemake.output.predictions, columns)
    artifacts.write_json(snakemake.output.metrics, report)

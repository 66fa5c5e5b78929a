"""Measure the parent layer of the learned clusters on the test images."""

import pandas

from treehead import artifacts, console
from treehead.data import embeddings, taxonomy
from treehead.evaluation import metrics
from treehead.heads.layers import Linear

with console.job(snakemake.log[0]):
    test = embeddings.read(snakemake.input.test)
    tree = taxonomy.read(snakemake.input.taxonomy)
    head = Linear(**artifacts.read_tensors(snakemake.input.parent))
    parent = tree.parent_of()[test.fine]
    predicted = head.logits(test.features[0]).argmax(1)
    right = metrics.accuracy(predicted, parent)
    table = pandas.DataFrame({"parent": parent, "predicted": predicted})
    with artifacts.replacing(snakemake.output.predictions) as temporary:
        table.to_parquet(temporary, index=False)
    report = {
        "accuracy": right,
        "accuracy_ci95": metrics.wilson_interval(right, len(parent)),
        "parents": len(tree.classes),
        "macs": head.macs(),
        "n_test": len(parent),
    }
    artifacts.write_json(snakemake.output.metrics, report)

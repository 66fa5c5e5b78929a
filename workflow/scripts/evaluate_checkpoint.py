"""Measure the head that came with the weights, as it is, on the test images."""

from treehead import artifacts, console
from treehead.backbones import weights
from treehead.data import embeddings, taxonomy
from treehead.evaluation import metrics
from treehead.heads.layers import Linear

with console.job(snakemake.log[0]):
    if snakemake.params.finetune["epochs"] > 0:
        raise artifacts.InputError(
            "The checkpoint's head fits its own features alone; set finetune.epochs to 0."
        )
    test = embeddings.read(snakemake.input.test)
    head = Linear(**weights.head(snakemake.input.weights))
    clusters = taxonomy.read(snakemake.input.clusters, 100)
    if len(head.bias) != len(clusters.classes):
        raise artifacts.InputError(
            f"The head of {snakemake.input.weights} has {len(head.bias)} classes, not the "
            f"{len(clusters.classes)} clusters of {snakemake.input.clusters}; use the study's "
            "checkpoint."
        )
    predicted = head.logits(test.features[0]).argmax(1)
    right = metrics.accuracy(predicted, clusters.parent_of()[test.fine])
    report = {"accuracy": right, "macs": head.macs(), "n_test": len(test.fine)}
    artifacts.write_json(snakemake.output[0], report)

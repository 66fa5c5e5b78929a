"""Evaluate the parent layer of the learned clusters."""

from treehead import artifacts, console, records
from treehead.data import embeddings, taxonomy
from treehead.evaluation import parents, predictions
from treehead.heads.layers import Linear

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    layer = Linear(**artifacts.read_tensors(snakemake.input.parent))
    tree = taxonomy.read(snakemake.input.taxonomy)
    report, predicted = parents.evaluate(layer, tree, embeddings.read(snakemake.input.test))
    spelled = {
        "parent_name": ("parent", tree.parent_names),
        "predicted_parent_name": ("predicted", tree.parent_names),
    }
    predictions.write(snakemake.output.predictions, predicted, spelled)
    artifacts.write_json(snakemake.output.metrics, report)

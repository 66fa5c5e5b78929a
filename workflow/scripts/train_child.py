"""Train the head of a parent's children."""

from treehead import artifacts, console, records
from treehead.data import embeddings, taxonomy
from treehead.heads.layers import Linear
from treehead.hierarchy import children

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    settings = taxonomy.complete(
        snakemake.params.child, snakemake.input.taxonomy, int(snakemake.wildcards.parent)
    )
    features, labels = embeddings.among(snakemake.input.embeddings, settings["classes"])
    path = snakemake.input.parent
    parent = Linear(**artifacts.read_tensors(path)) if path else None
    x = children.inputs(features, parent)
    head = children.fit(
        x, labels, len(settings["classes"]), settings["l2"], settings["class_weights"]
    )
    artifacts.write_tensors(snakemake.output[0], head)

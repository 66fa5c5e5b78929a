"""Evaluate the head that came with the weights."""

from treehead import artifacts, console, records
from treehead.backbones import weights
from treehead.data import embeddings, taxonomy
from treehead.evaluation import parents
from treehead.heads.layers import Linear

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    report = parents.of_checkpoint(
        Linear(**weights.head(snakemake.input.weights)),
        taxonomy.read(snakemake.input.clusters),
        embeddings.read(snakemake.input.test),
        snakemake.params.finetune["epochs"],
    )
    artifacts.write_json(snakemake.output[0], report)

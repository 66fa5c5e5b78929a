"""Evaluate the head that the backbone was trained with."""

from treehead import artifacts, console, records
from treehead.data import embeddings
from treehead.evaluation import backbone

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    tensors = artifacts.read_tensors(snakemake.input.head)
    val, test = (embeddings.read(snakemake.input[split]) for split in ("val", "test"))
    report = backbone.evaluate(tensors, snakemake.params.own_head, val, test)
    artifacts.write_json(snakemake.output[0], report)

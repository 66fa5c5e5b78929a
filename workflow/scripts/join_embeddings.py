"""Join the shards of a split."""

from treehead import console, records
from treehead.data import embeddings

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    embeddings.join(snakemake.input.shards, snakemake.output[0])

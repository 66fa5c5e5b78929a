"""Measure a head's C on an emulated processor."""

from treehead import artifacts, console
from treehead.data import embeddings
from treehead.deploy.c import instructions
from treehead.heads import packing

given = snakemake.input
with console.job(snakemake.log[0]):
    files = {packing.precision_and_seed(path)[0]: path for path in given.packed}
    sample, val = (embeddings.read(path).features[0] for path in (given.train, given.val))
    found = instructions.count(files, sample, val, **snakemake.params.instructions)
    artifacts.write_json(snakemake.output[0], found)

"""Measure a head's C on an emulated processor."""

from treehead import artifacts, console, records
from treehead.data import embeddings
from treehead.deploy.c import arriving, instructions
from treehead.heads import packing

given = snakemake.input
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    files = {packing.precision_and_seed(path)[0]: path for path in given.packed}
    sample, val = embeddings.sample(given.train), embeddings.read(given.val).features[0]
    settings = dict(snakemake.params.instructions)
    features = arriving.features(given.backbone, sample, settings.pop("feature_bits"))
    found = instructions.count(files, sample, val, features, **settings)
    artifacts.write_json(snakemake.output[0], found)

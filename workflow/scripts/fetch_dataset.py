"""Fetch the data set and check every image and label."""

from treehead import artifacts, console
from treehead.data import sources

with console.job(snakemake.log[0]):
    given, kept = dict(snakemake.input.items()), dict(snakemake.output.items())
    origin = sources.take(snakemake.params.dataset, given, kept)
    artifacts.write_json(snakemake.output.provenance, origin)

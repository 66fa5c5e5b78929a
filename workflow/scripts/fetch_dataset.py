"""Take the parquet files from the hub or a folder, check all that is in them, and keep them."""

from treehead import artifacts, console
from treehead.data import sources

with console.job(snakemake.log[0]):
    given, kept = dict(snakemake.input.items()), dict(snakemake.output.items())
    origin = sources.take(snakemake.params.dataset, given, kept)
    artifacts.write_json(snakemake.output.provenance, origin)

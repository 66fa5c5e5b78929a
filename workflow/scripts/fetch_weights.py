"""Load or initialise the weights of the backbone."""

from treehead import artifacts, console, records
from treehead.backbones import initial

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    given = snakemake.input.get("file")
    origin = initial.write(snakemake.output.weights, snakemake.params.weights, given)
    artifacts.write_json(snakemake.output.provenance, origin)

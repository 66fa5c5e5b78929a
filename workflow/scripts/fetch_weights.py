"""Load or initialise the weights of the backbone."""

from treehead import artifacts, console
from treehead.backbones import initial

with console.job(snakemake.log[0]):
    given = snakemake.input.get("file")
    origin = initial.write(snakemake.output.weights, snakemake.params.weights, given)
    artifacts.write_json(snakemake.output.provenance, origin)

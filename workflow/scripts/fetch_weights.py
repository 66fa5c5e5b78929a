"""Take weights from the hub or a file, or initialise them, and write them in the canonical form."""

from treehead import artifacts, console
from treehead.backbones import initial

with console.job(snakemake.log[0]):
    given = snakemake.input.get("file")
    origin = initial.write(snakemake.output.weights, snakemake.params.weights, given)
    artifacts.write_json(snakemake.output.provenance, origin)

"""Write the taxonomy."""

from treehead import console, records
from treehead.data import taxonomy

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    content = snakemake.params.taxonomy
    tree = taxonomy.Taxonomy(**content) if content else taxonomy.read(snakemake.input.learned)
    tree.write(snakemake.output[0])

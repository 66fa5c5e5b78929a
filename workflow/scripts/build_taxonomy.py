"""Write the taxonomy."""

from treehead import console
from treehead.data import taxonomy

with console.job(snakemake.log[0]):
    content = snakemake.params.taxonomy
    tree = taxonomy.Taxonomy(**content) if content else taxonomy.read(snakemake.input.learned)
    tree.write(snakemake.output[0])

"""Pack a head, one file for each precision and seed."""

from treehead import console
from treehead.heads import fitting, packing

with console.job(snakemake.log[0]):
    heads = fitting.load(snakemake.input.head)
    for path in snakemake.output:
        precision, seed = packing.precision_and_seed(path)
        packing.write(path, heads[seed], packing.PRECISIONS[precision])

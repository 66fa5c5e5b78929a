"""Pack a head, one file for each precision and seed."""

from treehead import console, records
from treehead.heads import fitting, packing

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    heads = fitting.load(snakemake.input.head)
    for path in snakemake.output:
        precision, seed = packing.precision_and_seed(path)
        packing.write(path, heads[seed], packing.PRECISIONS[precision])

"""Write a head as packed files, one for each precision and seed."""

from treehead import artifacts, console
from treehead.heads import packing, seeds

with console.job(snakemake.log[0]):
    fitted = artifacts.read_tensors(snakemake.input.head)
    for path in snakemake.output:
        precision, seed = packing.precision_and_seed(path)
        packing.write(path, seeds.of_seed(fitted, seed), packing.PRECISIONS[precision])

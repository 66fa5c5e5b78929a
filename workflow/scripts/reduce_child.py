"""Reduce a child head to its weight and its bias."""

from treehead import artifacts, console, records
from treehead.hierarchy import reduction

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    child = artifacts.read_tensors(snakemake.input.child)
    for name, target in (("weight", snakemake.output.weight), ("bias", snakemake.output.bias)):
        reduction.save(target, child[name])

"""Keep of a child head its weight and its bias, as bare tensors."""

from treehead import artifacts, console
from treehead.hierarchy import reduction

with console.job(snakemake.log[0]):
    child = artifacts.read_tensors(snakemake.input.child)
    for name, target in (("weight", snakemake.output.weight), ("bias", snakemake.output.bias)):
        reduction.save(target, child[name])

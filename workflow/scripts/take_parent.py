"""Take the parent layer that the backbone was trained with."""

from treehead import artifacts, console, records

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    head = artifacts.read_tensors(snakemake.input.head)
    parent = {name: head[f"first.{name}"] for name in ("weight", "bias")}
    artifacts.write_tensors(snakemake.output[0], parent)

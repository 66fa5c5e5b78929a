"""Add the test figures of the chosen head to the choice."""

import pandas

from treehead import artifacts, console, records
from treehead.evaluation import choice

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    chosen = artifacts.read_json(snakemake.input.choice)
    paths = dict(zip(snakemake.params.heads["names"], snakemake.input.predictions, strict=True))
    heads = {chosen["head"], chosen["full"]["head"]}
    predictions = {head: pandas.read_parquet(paths[head]) for head in heads}
    artifacts.write_json(snakemake.output[0], choice.with_test(chosen, predictions))

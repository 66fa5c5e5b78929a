"""Draw the history of fine-tuning."""

import pandas

from treehead import console, records
from treehead.report import figures

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    table = pandas.read_csv(snakemake.input.history)
    figures.save(figures.history(table, snakemake.params.dataset["title"]), snakemake.output[0])

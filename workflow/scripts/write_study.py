"""Compare the study's numbers with ours, row by row."""

import pandas

from treehead import artifacts, console, records
from treehead.report import study

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    page = study.page(
        pandas.read_csv(snakemake.input.table),
        pandas.read_csv(snakemake.input.study),
        pandas.read_csv(snakemake.input.defects),
        snakemake.params.dataset["title"],
    )
    artifacts.write_text(snakemake.output[0], page)

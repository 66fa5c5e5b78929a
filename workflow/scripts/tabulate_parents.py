"""Write the main figures and the table of parents as a page."""

from treehead import artifacts, console, records
from treehead.report import summary

with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    report = artifacts.read_json(snakemake.input.metrics)
    artifacts.write_text(snakemake.output[0], summary.page(report))

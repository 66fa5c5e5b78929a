"""Draw the accuracy of all heads against their cost."""

import pandas

from treehead import artifacts, console, records
from treehead.report import figures, pareto

settings = snakemake.params.comparison
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    table = pandas.read_csv(snakemake.input.table)
    study = pandas.read_csv(snakemake.input.study) if settings["of_the_study"] else None
    backbone = artifacts.read_json(snakemake.input.backbone)["macs"]
    figures.save(pareto.pareto(table, study, backbone, settings["title"]), snakemake.output[0])

"""Draw accuracy against cost."""

import pandas

from treehead import artifacts, console
from treehead.report import figures

with console.job(snakemake.log[0]):
    table = pandas.read_csv(snakemake.input.table)
    study = pandas.read_csv(snakemake.input.study)
    backbone = artifacts.read_json(snakemake.input.backbone)["macs"]
    title = snakemake.params.dataset["title"]
    figures.save(figures.pareto(table, study, backbone, title), snakemake.output[0])

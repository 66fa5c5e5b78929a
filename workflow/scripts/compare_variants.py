"""Compare the variants of the backbone in a table and a figure."""

import pandas

from treehead import artifacts, console, records
from treehead.evaluation import variants
from treehead.report import figures

settings = snakemake.params.variants
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    heads = map(artifacts.read_json, snakemake.input.heads)
    trees = map(artifacts.read_json, snakemake.input.trees)
    study = pandas.read_csv(snakemake.input.study) if settings["of_the_study"] else None
    table = variants.table(
        dict(zip(settings["names"], heads, strict=True)),
        dict(zip(settings["with_tree"], trees, strict=True)),
        study,
    )
    artifacts.write_text(snakemake.output.table, table.to_csv(index=False))
    figures.save(figures.variants(table, settings["title"]), snakemake.output.figure)

"""Draw the confusion matrix of the test images."""

import pandas

from treehead import console, records
from treehead.data import taxonomy
from treehead.report import figures

settings = snakemake.params.dataset
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    tree = taxonomy.read(snakemake.input.taxonomy)
    table = pandas.read_parquet(snakemake.input.predictions)
    predicted, fine = table["predicted"].to_numpy(), table["fine"].to_numpy()
    figures.save(figures.confusion(predicted, fine, tree, settings["title"]), snakemake.output[0])

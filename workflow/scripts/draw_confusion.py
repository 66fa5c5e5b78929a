"""Draw the confusion matrix of the test images."""

import pandas

from treehead import console, figures, taxonomy

with console.job(snakemake.log[0]):
    tree = taxonomy.read(snakemake.input.taxonomy, snakemake.params.dataset["classes"])
    table = pandas.read_parquet(snakemake.input.predictions)
    figure = figures.confusion(table["predicted"].to_numpy(), table["fine"].to_numpy(), tree)
    figures.save(figure, snakemake.output[0])

"""Draw the learned clusters."""

import pandas

from treehead import console, records
from treehead.data import clusters, embeddings, taxonomy
from treehead.heads import fitting
from treehead.report import figures

settings = snakemake.params.clusters
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    tree = taxonomy.read(snakemake.input.taxonomy)
    train = embeddings.examples(snakemake.input.embeddings, len(settings["names"]))
    head = fitting.load(snakemake.input.linear)[settings["flat_seed"]]
    logits = train.features.changed(fitting.linear(head).logits)
    alike = clusters.similarity(clusters.confusion(logits, train.labels))
    drawn = figures.dendrogram(alike, tree, settings["title"])
    figures.save(drawn, snakemake.output.dendrogram)
    table = pandas.read_parquet(snakemake.input.predictions)
    predicted, parent = table["predicted"].to_numpy(), table["parent"].to_numpy()
    drawn = figures.group_confusion(predicted, parent, tree, settings["title"])
    figures.save(drawn, snakemake.output.confusion)

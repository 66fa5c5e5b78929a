"""Learn clusters of the classes that the full head confuses."""

from treehead import console, records
from treehead.data import clusters, embeddings, taxonomy
from treehead.heads import fitting

settings = snakemake.params.clusters
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    train = embeddings.examples(snakemake.input.embeddings, len(settings["names"]))
    head = fitting.load(snakemake.input.linear)[settings["flat_seed"]]
    logits = train.features.changed(fitting.linear(head).logits)
    alike = clusters.similarity(clusters.confusion(logits, train.labels))
    cluster_of = clusters.balanced(alike, settings["groups"], settings["seed"])
    taxonomy.from_clusters(cluster_of, settings["names"]).write(snakemake.output[0])

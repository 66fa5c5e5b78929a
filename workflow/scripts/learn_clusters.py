"""Learn clusters of the classes that the full head confuses."""

from treehead import console, records
from treehead.data import clusters, embeddings, taxonomy
from treehead.heads import fitting, linear

settings = snakemake.params.clusters
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    features, fine = embeddings.read(snakemake.input.embeddings).flat()
    head = fitting.load(snakemake.input.linear)[settings["flat_seed"]]
    confused = clusters.confusion(linear.predict(*fitting.as_fitted(head, features)), fine)
    alike = clusters.similarity(confused)
    cluster_of = clusters.balanced(alike, settings["groups"], settings["seed"])
    taxonomy.from_clusters(cluster_of, settings["names"]).write(snakemake.output[0])

"""Compute the features of a split with the frozen backbone."""

from treehead import console, records
from treehead.backbones import embed, inputs
from treehead.data import dataset, embeddings
from treehead.training import compute

settings, split, given = snakemake.params.embed, snakemake.wildcards.split, snakemake.input
by_row = [given.images]
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
    images, fine = dataset.part(given.images, given.table, split, settings["split"])
    rows = embeddings.shard(len(fine), settings["shard"], settings["shards"])
    network = inputs.complete(settings["network"], given.brought, given.statistics)
    device = compute.device(settings, "embed")
    with embed.opened(given.onnx, given.weights, settings | {"network": network}, device) as run:
        features = embed.embed(
            images.part(rows), settings["views"], run, settings["batch_size"], f"embed {split}"
        )
    found = embeddings.Embeddings(features, fine[rows])
    embeddings.write(snakemake.output[0], found, settings["stored"])

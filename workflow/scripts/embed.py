"""Compute the features of a split with the frozen backbone."""

from treehead import console
from treehead.backbones import embed
from treehead.data import dataset, embeddings
from treehead.training import compute

settings, split = snakemake.params.embed, snakemake.wildcards.split
with console.job(snakemake.log[0]):
    images, fine = dataset.part(snakemake.input.images, split, settings["split"])
    device = compute.device(settings["device"], "embed.device")
    with embed.opened(snakemake.input.onnx, snakemake.input.weights, settings, device) as run:
        features = embed.embed(
            images, settings["views"], run, settings["batch_size"], f"embed {split}"
        )
    embeddings.write(snakemake.output[0], embeddings.Embeddings(features, fine))

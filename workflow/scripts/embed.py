"""Every image of a split through the frozen backbone, once a view."""

from contextlib import nullcontext

from treehead import console
from treehead.backbones import architectures, embed, weights
from treehead.data import dataset, embeddings
from treehead.training import compute

settings = snakemake.params.embed
with console.job(snakemake.log[0]):
    images, fine = dataset.part(
        snakemake.input.images, snakemake.wildcards.split, settings["split"]
    )
    device = compute.device(settings["device"], "embed.device")
    if device == "cpu":
        run, guard = embed.with_onnx(snakemake.input.onnx, settings["threads"]), nullcontext()
    else:
        backbone = architectures.build(**settings["network"])
        weights.into(backbone.network, snakemake.input.weights)
        run, guard = embed.with_torch(backbone, device), embed.frozen(backbone)
    what = f"embed {snakemake.wildcards.split}"
    with guard:
        features = embed.embed(images, settings["views"], run, settings["batch_size"], what)
    embeddings.write(snakemake.output[0], embeddings.Embeddings(features, fine))

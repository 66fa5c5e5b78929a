"""Export the whole classifier as ONNX."""

import torch

from treehead import console
from treehead.backbones import inputs, weights
from treehead.backbones.backbone import build
from treehead.data import embeddings, taxonomy
from treehead.deploy import classifier, packed

settings, given = snakemake.params.deploy, snakemake.input
with console.job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    weights.into(backbone.network, given.weights)
    made = classifier.assembled(
        backbone,
        packed.taken(given.choice, given.packed, settings["heads"]),
        embeddings.read(given.val),
        taxonomy.read(given.taxonomy),
        settings["pictures"],
        {"backbone": given.weights},
    )
    classifier.export(made, snakemake.output[0])

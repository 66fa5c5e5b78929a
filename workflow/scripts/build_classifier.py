"""Export the whole classifier as ONNX."""

import torch

from treehead import console, records
from treehead.backbones import inputs, quantized, weights
from treehead.backbones.backbone import build
from treehead.data import embeddings, taxonomy
from treehead.deploy import classifier, packed

settings, given = snakemake.params.deploy, snakemake.input
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    torch.set_num_threads(snakemake.threads)
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    weights.into(backbone.network, given.weights)
    taken = packed.taken(given.choice, given.packed, settings["heads"])
    rounds = given.get("rounded")
    if rounds:
        backbone.network = quantized.restored(
            rounds, backbone.network, backbone.size, **settings["rounding"]
        )
        taken = packed.of_few_bits(taken, given.packed)
    made = classifier.assembled(
        backbone,
        taken,
        embeddings.read(given.val),
        taxonomy.read(given.taxonomy),
        settings["pictures"],
        {"backbone": rounds or given.weights},
    )
    classifier.export(made, snakemake.output[0], whole=bool(rounds))

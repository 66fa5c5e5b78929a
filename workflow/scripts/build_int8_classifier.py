"""Export the whole classifier of the backbone in 8 bits as ONNX."""

import torch

from treehead import console
from treehead.backbones import inputs, quantized, weights
from treehead.backbones.backbone import build
from treehead.data import embeddings, taxonomy
from treehead.deploy import classifier, packed

settings, given = snakemake.params.deploy, snakemake.input
with console.job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    weights.into(backbone.network, given.weights)
    backbone.network = quantized.restored(
        backbone.network, backbone.size, settings["relu_above"], given.quantized
    )
    taken = packed.taken(given.choice, given.packed, settings["heads"])
    made = classifier.assembled(
        backbone,
        packed.of_few_bits(taken, given.packed),
        embeddings.read(given.val),
        taxonomy.read(given.taxonomy),
        settings["pictures"],
        {"backbone": given.quantized},
    )
    classifier.export(made, snakemake.output[0], whole=True)

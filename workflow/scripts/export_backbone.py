"""Export the frozen backbone to ONNX and compare the two."""

import torch

from treehead import console
from treehead.backbones import embed, weights
from treehead.backbones.backbone import build
from treehead.data import dataset

settings = snakemake.params.export
with console.job(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    backbone = build(**dataset.normalized(settings["network"], snakemake.input.statistics))
    weights.into(backbone.network, snakemake.input.weights)
    probe = dataset.Pixels(snakemake.input.train)[:64]
    difference = embed.export(backbone, snakemake.output[0], probe, snakemake.threads)
    console.say(f"Largest difference to the eager network: {difference:.1e}")

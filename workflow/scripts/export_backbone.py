"""Export the frozen backbone to ONNX and compare the two."""

import torch

from treehead import console, records
from treehead.backbones import exporting, inputs, weights
from treehead.backbones.backbone import build
from treehead.data import dataset

settings, given = snakemake.params.export, snakemake.input
by_row = [given.images]
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
    torch.set_num_threads(snakemake.threads)
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    weights.into(backbone.network, given.weights)
    probe = dataset.pixels(given.images, given.table)[:64]
    difference = exporting.write(backbone, snakemake.output[0], probe, snakemake.threads)
    console.say(f"Largest difference to the eager network: {difference:.1e}")

"""Count the multiplications and parameters of the backbone."""

from treehead import artifacts, console, records
from treehead.backbones import cost, inputs
from treehead.backbones.backbone import build

settings, given = snakemake.params.export, snakemake.input
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    cost = {
        "macs": cost.macs(backbone, settings["image_size"]),
        "parameters": cost.parameters(backbone),
    }
    artifacts.write_json(snakemake.output[0], cost)

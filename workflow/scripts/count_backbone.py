"""Count the multiplications and parameters of the backbone."""

from treehead import artifacts, console
from treehead.backbones import cost
from treehead.backbones.backbone import build
from treehead.data import dataset

settings = snakemake.params.export
with console.job(snakemake.log[0]):
    backbone = build(**dataset.normalized(settings["network"], snakemake.input.statistics))
    cost = {
        "macs": cost.macs(backbone, settings["image_size"]),
        "parameters": cost.parameters(backbone),
    }
    artifacts.write_json(snakemake.output[0], cost)

"""Count the multiplications and parameters of the backbone."""

from treehead import artifacts, backbones, console, counting

settings = snakemake.params.export
with console.job(snakemake.log[0]):
    backbone = backbones.build(**settings["network"])
    cost = {
        "macs": counting.macs(backbone, settings["image_size"]),
        "parameters": counting.parameters(backbone),
    }
    artifacts.write_json(snakemake.output[0], cost)

"""Fine-tune the backbone on train, or keep it as it is."""

import pandas
import torch

from treehead import artifacts, backbones, console, dataset, finetune, weights

settings = snakemake.params.finetune
with console.job(snakemake.log[0]):
    backbone = backbones.build(**settings["network"])
    weights.into(backbone.network, snakemake.input.weights)
    history = []
    if settings["epochs"]:
        torch.set_num_threads(settings["threads"])
        parts = {
            part: finetune.Images(
                *map(torch.from_numpy, dataset.part(snakemake.input.train, part, settings["split"]))
            )
            for part in ("train", "val")
        }
        _, history = finetune.finetune(backbone, parts["train"], parts["val"], settings)
    weights.save(snakemake.output.weights, backbone.network.state_dict(), {})
    table = pandas.DataFrame(history, columns=finetune.Epoch._fields)
    artifacts.write_text(snakemake.output.history, table.to_csv(index=False))

"""Train the backbone on train, or keep it as it is."""

from pathlib import Path

import pandas
import torch

from treehead import artifacts, console
from treehead.backbones import architectures, weights
from treehead.data import dataset
from treehead.training import checkpoint, compute, finetune


def main() -> None:
    """Train, or go on where a stopped training was."""
    settings = snakemake.params.finetune
    backbone = architectures.build(**settings["network"])
    weights.into(backbone.network, snakemake.input.weights)
    history, head = [], {}
    if settings["epochs"]:
        torch.set_num_threads(settings["threads"])
        parts = {
            part: finetune.Images(
                *map(torch.from_numpy, dataset.part(snakemake.input.train, part, settings["split"]))
            )
            for part in ("train", "val")
        }
        key = checkpoint.key(compute.decided(settings), list(snakemake.input))
        path = Path(snakemake.output.weights).with_name(f"unfinished-{key[:16]}.pt")
        state = checkpoint.Checkpoint(path, snakemake.config["finetune"]["save_seconds"])
        objective, history = finetune.finetune(
            backbone, parts["train"], parts["val"], settings, state
        )
        head = {name: value.numpy() for name, value in objective.state_dict().items()}
    table = pandas.DataFrame(history, columns=finetune.Epoch._fields)
    artifacts.write_text(snakemake.output.history, table.to_csv(index=False))
    artifacts.write_tensors(snakemake.output.head, head)
    weights.save(snakemake.output.weights, backbone.network.state_dict(), {})
    if settings["epochs"]:
        state.remove()


# Processes that torch starts import this file once more, under another name.
if __name__ == "__main__":
    with console.job(snakemake.log[0]):
        main()

"""Train the backbone; with no epochs, keep it as it is."""

import pandas

from treehead import artifacts, console
from treehead.backbones import weights
from treehead.backbones.backbone import build
from treehead.training import checkpoint, compute, finetune


def main() -> None:
    """Train, or resume an interrupted training."""
    settings, seconds = snakemake.params.finetune, snakemake.config["finetune"]["save_seconds"]
    backbone = build(**settings["network"])
    weights.into(backbone.network, snakemake.input.weights)
    decided, files = compute.decided(settings), list(snakemake.input)
    state = checkpoint.beside(snakemake.output.weights, decided, files, seconds)
    head, history = finetune.from_file(backbone, snakemake.input.train, settings, state)
    table = pandas.DataFrame(history, columns=finetune.Epoch._fields)
    artifacts.write_text(snakemake.output.history, table.to_csv(index=False))
    artifacts.write_tensors(snakemake.output.head, head)
    weights.save(snakemake.output.weights, backbone.network.state_dict(), {})
    state.remove()


# Processes that torch starts import this file once more, under another name.
if __name__ == "__main__":
    with console.job(snakemake.log[0]):
        main()

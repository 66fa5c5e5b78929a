"""Train the backbone; with no epochs, keep it as it is."""

import pandas

from treehead import artifacts, console, records
from treehead.backbones import inputs, weights
from treehead.backbones.backbone import build
from treehead.training import checkpoint, compute, finetune


def main() -> None:
    """Train, or resume an interrupted training."""
    settings, given = snakemake.params.finetune, snakemake.input
    other = snakemake.config["finetune"]
    backbone = build(**inputs.complete(settings["network"], given.brought, given.statistics))
    weights.into(backbone.network, given.weights)
    # The table holds a digest of each image.
    files = [path for path in given if path != given.images]
    state = checkpoint.beside(
        snakemake.output.weights, compute.decided(settings), files, other["save_seconds"]
    )
    head, history = finetune.from_files(
        backbone,
        given.images,
        given.table,
        settings,
        checkpoint=state,
        rendezvous=other["rendezvous"],
    )
    table = pandas.DataFrame(history, columns=finetune.Epoch._fields)
    artifacts.write_text(snakemake.output.history, table.to_csv(index=False))
    artifacts.write_tensors(snakemake.output.head, head)
    weights.save(snakemake.output.weights, backbone.network.state_dict(), {})
    state.remove()


# Processes that torch starts import this file once more, under another name.
if __name__ == "__main__":
    by_row = [snakemake.input.images]
    with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
        main()

"""Train the backbone in 8 bits, and export it."""

import pandas

from treehead import artifacts, console, records
from treehead.backbones import embed, exporting, inputs, quantized, weights
from treehead.backbones.backbone import build
from treehead.data import dataset
from treehead.training import checkpoint, compute, distillation

settings, given, made = snakemake.params.quantize, snakemake.input, snakemake.output
by_row = [given.images]
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
    network = inputs.complete(settings["network"], given.brought, given.statistics)
    settings = settings | {"network": network, "device": compute.device(settings, "embed")}
    backbone = build(**network)
    weights.into(backbone.network, given.weights)
    train, val = (
        dataset.part(given.images, given.table, part, settings["split"])[0]
        for part in ("train", "val")
    )
    files = [path for path in given if path != given.images]
    seconds = snakemake.config["finetune"]["save_seconds"]
    state = checkpoint.beside(made.weights, settings, files, seconds)
    with embed.opened(given.onnx, given.weights, settings, settings["device"]) as teacher:
        student, history = distillation.quantize(backbone, teacher, train, val, settings, state)
    table = pandas.DataFrame(history, columns=distillation.Row._fields)
    artifacts.write_text(made.history, table.to_csv(index=False))
    quantized.save(made.weights, student)
    backbone.network = quantized.settled(student)
    told = exporting.write(backbone, made.onnx, train[:64], settings["threads"], rounds=True)
    console.say(f"Root mean square difference of the features to the trained network: {told:.2g}")
    state.remove()

"""Evaluate a packed head on test and val."""

from treehead import artifacts, console, records
from treehead.data import embeddings, taxonomy
from treehead.evaluation import classes, heads, predictions
from treehead.heads import packing

settings = snakemake.params.evaluation
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    tree = taxonomy.read(snakemake.input.taxonomy)
    files = {packing.precision_and_seed(path): path for path in snakemake.input.packed}
    val = embeddings.read(snakemake.input.val)
    test = embeddings.read(snakemake.input.test)
    report, predicted = heads.evaluate(settings["module"], files, tree.parent_of(), val, test)
    about = {key: settings[key] for key in ("head", "module", "setting")}
    columns, names = {"fine": test.fine, **predicted}, {"class": ("fine", tree.fine_names)}
    predictions.write(snakemake.output.predictions, columns, names)
    first = next(iter(predicted.values()))
    classes.write(snakemake.output.per_class, classes.table(first, test.fine, tree))
    artifacts.write_json(snakemake.output.metrics, {**about, "n_test": len(test.fine), **report})

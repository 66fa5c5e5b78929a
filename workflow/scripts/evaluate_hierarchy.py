"""Evaluate the tree on test and val."""

from treehead import artifacts, console, records
from treehead.backbones import inputs
from treehead.data import dataset, embeddings, taxonomy
from treehead.evaluation import classes, predictions, trees
from treehead.heads import fitting
from treehead.heads.layers import Linear
from treehead.hierarchy import reduction
from treehead.hierarchy.tree import assemble

settings, given = snakemake.params.evaluation, snakemake.input
# With storage a job reads copies of the files in another folder.
tail = f"{snakemake.wildcards.model}/hierarchy100/metrics.json"
folder = snakemake.output.metrics.removesuffix(tail)
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    names = taxonomy.read(given.taxonomy)
    children = [
        Linear(reduction.load(weight), reduction.load(bias))
        for weight, bias in zip(given.weights, given.biases, strict=True)
    ]
    parent = Linear(**artifacts.read_tensors(given.parent))
    tree = assemble(names, parent, children, settings["child_input"])
    flat = fitting.linear(fitting.load(given.linear)[settings["flat_seed"]])
    val, test = (embeddings.read(given[split]) for split in ("val", "test"))
    report, predicted = trees.evaluate(
        tree,
        flat,
        val=val,
        test=test,
        taxonomy=names,
        top_k=settings["top_k"],
    )
    report |= {
        "dataset": settings["dataset"] | dataset.provenance(given.origin),
        "backbone": inputs.complete(settings["backbone"], given.brought, given.statistics),
        "config_sha256": artifacts.sha256(given.config),
        "input_sha256": {
            path.removeprefix(folder): artifacts.sha256(path) for path in given.hashed
        },
    }
    columns = {"fine": test.fine, "predicted": predicted}
    spelled = {
        "class": ("fine", names.fine_names),
        "predicted_class": ("predicted", names.fine_names),
        "parent_name": ("fine", classes.parents(names)),
        "predicted_parent_name": ("predicted", classes.parents(names)),
    }
    predictions.write(snakemake.output.predictions, columns, spelled)
    classes.write(snakemake.output.per_class, classes.table(predicted, test.fine, names))
    artifacts.write_json(snakemake.output.metrics, report)

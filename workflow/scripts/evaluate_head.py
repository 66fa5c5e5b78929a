"""Evaluate a packed head on test and val."""

import numpy as np

from treehead import artifacts, console
from treehead.data import embeddings, taxonomy
from treehead.evaluation import heads, predictions
from treehead.heads import packing

with console.job(snakemake.log[0]):
    settings = taxonomy.complete(snakemake.params.evaluation, snakemake.input.taxonomy)
    files = {packing.precision_and_seed(path): path for path in snakemake.input.packed}
    val = embeddings.read(snakemake.input.val)
    test = embeddings.read(snakemake.input.test)
    report, predicted = heads.evaluate(
        settings["module"], files, np.array(settings["parent_of"]), val, test
    )
    about = {key: settings[key] for key in ("head", "module", "setting")}
    predictions.write(snakemake.output.predictions, {"fine": test.fine, **predicted})
    artifacts.write_json(snakemake.output.metrics, {**about, "n_test": len(test.fine), **report})

"""Measure the classifier's file on the test images."""

from treehead import artifacts, console, records
from treehead.deploy.model import Model
from treehead.evaluation import deployed

given = snakemake.input
by_row = [given.images]
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output, by_row):
    model = Model(given.classifier, snakemake.threads)
    expected = deployed.of_pipeline(model.about, given.predictions)
    report = deployed.on_test(model, given.images, given.table, expected)
    report["sha256"] = artifacts.sha256(given.classifier)
    artifacts.write_json(snakemake.output[0], report)

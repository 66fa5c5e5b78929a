"""Measure the head that the backbone was trained with, on test and on val."""

import torch

from treehead import artifacts, console
from treehead.data import embeddings
from treehead.evaluation import metrics
from treehead.training import objectives

settings = snakemake.params.own_head
with console.job(snakemake.log[0]):
    if settings["epochs"] == 0:
        raise artifacts.InputError(
            "The backbone was not trained here, so it has no head of its own; set finetune.epochs."
        )
    test, val = (embeddings.read(snakemake.input[split]) for split in ("test", "val"))
    head = objectives.Objective(
        test.features.shape[2], torch.tensor(settings["parent_of"]), settings["objective"]
    )
    tensors = artifacts.read_tensors(snakemake.input.head)
    head.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
    reports = [
        objectives.measure(head, torch.from_numpy(part.features[0]), torch.from_numpy(part.fine))
        for part in (test, val)
    ]
    report = {"network": settings["variant"], **reports[0]}
    for name, value in reports[0].items():
        report[f"{name}_ci95"] = metrics.wilson_interval(value, len(test.fine))
        report[f"val_{name}"] = reports[1][name]
    report |= {"macs": objectives.macs(head), "n_test": len(test.fine)}
    artifacts.write_json(snakemake.output[0], report)

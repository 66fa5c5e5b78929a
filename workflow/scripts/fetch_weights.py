"""Take weights from the hub or a file, or initialise them, and write them in the canonical form."""

import tempfile
from pathlib import Path

import torch

from treehead import artifacts, console
from treehead.backbones import architectures, torchvision_models, weights
from treehead.data import hub

settings = snakemake.params.weights
with console.job(snakemake.log[0]), tempfile.TemporaryDirectory() as downloads:
    torch.manual_seed(settings.get("seed", 0))
    network, _ = architectures.network_of(
        settings["architecture"], settings["settings"], settings["size"]
    )
    origin = dict(settings)
    tensors, head = network.state_dict(), {}
    if settings["source"] == "torchvision":
        name = settings["architecture"].removeprefix("torchvision/")
        tensors = weights.fit(torchvision_models.pretrained(name), network, f"torchvision's {name}")
    elif settings["source"] != "scratch":
        file = snakemake.input.get("file")
        if settings["source"] == "hub":
            file = Path(downloads) / "state_dict.pth.tar"
            origin["commit"] = hub.fetch(
                "micromind/ImageNet",
                "v7/state_dict.pth.tar",
                settings["revision"],
                file,
                key="backbone.weights",
                sha256=settings["sha256"],
            )
        origin["source_sha256"] = artifacts.sha256(file)
        tensors, head = weights.load(file)
        tensors = weights.fit(tensors, network, file)
    weights.save(snakemake.output.weights, tensors, head)
    origin["sha256"] = artifacts.sha256(snakemake.output.weights)
    artifacts.write_json(snakemake.output.provenance, origin)
    count = sum(parameter.numel() for parameter in network.parameters())
    console.say(f"{settings['architecture']}: {count} parameters from {settings['source']}")

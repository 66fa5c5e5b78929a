"""Take the parquet files from the hub or a folder, check all that is in them, and keep them."""

import shutil
import tempfile
from pathlib import Path

from treehead import artifacts, console
from treehead.data import dataset, hub

settings = snakemake.params.dataset
with console.job(snakemake.log[0]), tempfile.TemporaryDirectory() as downloads:
    origin = {"source": settings["source"]}
    for split in ("train", "test"):
        file = snakemake.input.get(split)
        if settings["source"] == "hub":
            name = f"cifar100/{split}-00000-of-00001.parquet"
            file = Path(downloads) / name
            origin["commit"] = hub.fetch(
                "uoft-cs/cifar100",
                name,
                settings["revision"],
                file,
                key="dataset.source",
                repo_type="dataset",
                sha256=settings["sha256"][split],
            )
        dataset.check(file, settings, split)
        with artifacts.replacing(snakemake.output[split]) as temporary:
            shutil.copyfile(file, temporary)
        origin[split] = artifacts.sha256(snakemake.output[split])
        console.say(f"{split}: every image and label of {file} is checked")
    artifacts.write_json(snakemake.output.provenance, origin)

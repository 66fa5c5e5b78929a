"""Draw the images of demo100."""

from treehead import console, records
from treehead.data import dataset
from treehead.data.demo100 import classes

settings = snakemake.params.dataset
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    for split in ("train", "test"):
        per_class = settings[f"{split}_per_class"]
        images, labels = snakemake.output[split], snakemake.output[f"{split}_table"]
        total = per_class * settings["classes"]
        examples = console.progress(
            classes.examples(0, split, per_class), f"drawing {split}", total, "images"
        )
        dataset.write(images, labels, examples, split)
    console.say("Drew demo100, a data set of drawn images; it is not CIFAR-100.")

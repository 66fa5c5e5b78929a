"""Draw the images of demo100."""

from treehead import console
from treehead.data import dataset
from treehead.data.demo100 import classes

settings = snakemake.params.dataset
with console.job(snakemake.log[0]):
    for split in ("train", "test"):
        per_class = settings[f"{split}_per_class"]
        rows = classes.rows(0, split, per_class)
        total = per_class * settings["classes"]
        rows = console.progress(rows, f"drawing {split}", total, "images")
        dataset.write(snakemake.output[split], rows)
    console.say("Drew demo100, a data set of drawn images; it is not CIFAR-100.")

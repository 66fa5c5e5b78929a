"""Write a head as C."""

from pathlib import Path

from treehead import console, records
from treehead.data import embeddings
from treehead.deploy import packed
from treehead.deploy.c import agreement, arriving, build, source

given = snakemake.input
with console.job(snakemake.log[0]), records.kept(snakemake.input, snakemake.output):
    taken = packed.of_few_bits(
        packed.taken(given.choice, given.packed, snakemake.params.deploy["heads"]), given.packed
    )
    sample = embeddings.sample(given.train)
    features = arriving.features(given.backbone, sample)
    head = build.build(taken.module, taken.file, features, sample)
    val = embeddings.read(given.val).features[0]
    remedy = "set deploy.head to another head, or take the classifier's ONNX, which needs no C"
    agreement.check(taken.module, taken.file, head, val, remedy)
    examples, _ = features.quantized(val[:8])
    folder = Path(snakemake.output[0]).parent
    source.write(folder, head, packed=taken.file, title=taken.head, examples=examples)
    console.say(f"{taken.head} at {taken.file.stem}: a feature is {features.scale:g} * number.")

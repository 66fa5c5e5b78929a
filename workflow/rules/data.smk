# In: the source of the data set.
# Out: its parquet files, checked, and the taxonomy of its classes.
if config["dataset"]["source"] == "generated":

    rule make_demo_dataset:
        """Draw demo100: 100 classes of drawn images in 20 superclasses. It is not CIFAR-100."""
        input:
            code=code("make_demo_dataset"),
        output:
            train=f"{DATASET}/train.parquet",
            test=f"{DATASET}/test.parquet",
        log:
            f"{DATASET}/make_demo_dataset.log",
        threads: 1
        params:
            dataset=stages.dataset(config),
        script:
            "../scripts/make_demo_dataset.py"

else:

    rule fetch_dataset:
        """Copy the two parquet files from the hub or a folder, and check every image and label."""
        input:
            **LOCAL_FILES["dataset"],
            code=code("fetch_dataset"),
        output:
            train=f"{DATASET}/train.parquet",
            test=f"{DATASET}/test.parquet",
            provenance=f"{DATASET}/provenance.json",
        log:
            f"{DATASET}/fetch_dataset.log",
        threads: 1
        params:
            dataset=stages.dataset(config),
        script:
            "../scripts/fetch_dataset.py"


rule build_taxonomy:
    """The partition of the classes into parents, checked against the labels of the train images."""
    input:
        train=f"{DATASET}/train.parquet",
        learned=branch(TAXONOMY is None, then="<results>/hierarchy10/taxonomy.json", otherwise=[]),
        code=code("build_taxonomy"),
    output:
        "<results>/taxonomy.json",
    log:
        "<results>/logs/build_taxonomy.log",
    threads: 1
    params:
        taxonomy={"setting": config["taxonomy"], "content": TAXONOMY and TAXONOMY._asdict()},
    script:
        "../scripts/build_taxonomy.py"

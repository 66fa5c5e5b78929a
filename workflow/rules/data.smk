# In: the source of the data set.
# Out: its images and labels in canonical form, and the taxonomy of its classes.
if config["dataset"]["source"] == "generated":

    rule make_demo_dataset:
        """Draw demo100: 100 classes of drawn images in 20 superclasses. It is not CIFAR-100."""
        input:
            code=code("make_demo_dataset"),
        output:
            train=f"{DATASET}/train.npy",
            train_table=f"{DATASET}/train.parquet",
            test=f"{DATASET}/test.npy",
            test_table=f"{DATASET}/test.parquet",
        log:
            f"{DATASET}/make_demo_dataset.log",
        threads: 1
        resources:
            runtime=30,
        params:
            dataset=stages.drawing(config),
        script:
            "../scripts/make_demo_dataset.py"

else:

    rule fetch_dataset:
        """Read every picture of the source once, and check it and its label."""
        input:
            files=local(CATALOG.files),
            code=code("fetch_dataset"),
        output:
            train=f"{DATASET}/train.npy",
            train_table=f"{DATASET}/train.parquet",
            test=f"{DATASET}/test.npy",
            test_table=f"{DATASET}/test.parquet",
            statistics=f"{DATASET}/statistics.json",
            leaks=f"{DATASET}/leaks.csv",
            provenance=f"{DATASET}/provenance.json",
        log:
            f"{DATASET}/fetch_dataset.log",
        benchmark:
            f"{DATASET}/fetch_dataset.tsv"
        threads: config["threads"]["backbone"]
        resources:
            mem_mb=8000,
            runtime=240,
        params:
            reading=stages.reading(config, CATALOG),
        script:
            "../scripts/fetch_dataset.py"


rule build_taxonomy:
    """The partition of the classes into parents."""
    input:
        learned=branch(TAXONOMY is None, then="<results>/hierarchy10/taxonomy.json", otherwise=[]),
        code=code("build_taxonomy"),
    output:
        "<results>/taxonomy.json",
    log:
        "<results>/logs/build_taxonomy.log",
    threads: 1
    params:
        taxonomy=TAXONOMY and TAXONOMY._asdict(),
    script:
        "../scripts/build_taxonomy.py"

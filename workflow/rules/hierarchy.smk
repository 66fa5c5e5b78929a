# In: embeddings and the taxonomy. Out: the parent, its children, their reduced tensors, the metrics.
if config["parent"]["objective"] == "finetuned":

    rule take_parent:
        """The parent layer that the backbone was trained with."""
        input:
            head="<results>/backbone/head.safetensors",
            code=code("take_parent"),
        output:
            "<results>/hierarchy100/parent.safetensors",
        log:
            "<results>/logs/take_parent.log",
        threads: 1
        script:
            "../scripts/take_parent.py"

else:

    rule train_parent:
        """The upper level: features to parents, for the parents alone or for their children too."""
        input:
            embeddings="<results>/embeddings/train.safetensors",
            taxonomy=LEARNED,
            code=code("train_parent"),
        output:
            "<results>/hierarchy100/parent.safetensors",
        log:
            "<results>/logs/train_parent.log",
        threads: config["threads"]["heads"]
        params:
            parent=stages.parent(config, TAXONOMY),
        script:
            "../scripts/train_parent.py"


rule train_child:
    """One parent's children: a convex softmax regression on that parent's train images."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        parent=branch(
            config["child"]["input"] == "parent_logits",
            then="<results>/hierarchy100/parent.safetensors",
            otherwise=[],
        ),
        taxonomy=LEARNED,
        code=code("train_child"),
    output:
        "<results>/hierarchy100/children/{parent}.safetensors",
    log:
        "<results>/logs/train_child/{parent}.log",
    threads: 1
    params:
        child=lambda wildcards: stages.child(config, TAXONOMY, int(wildcards.parent)),
    script:
        "../scripts/train_child.py"


rule reduce_child:
    """Of a child head exactly its weight and its bias, as bare tensors."""
    input:
        child="<results>/hierarchy100/children/{parent}.safetensors",
        code=code("reduce_child"),
    output:
        weight="<results>/hierarchy100/reduced/{parent}_weight.pt",
        bias="<results>/hierarchy100/reduced/{parent}_bias.pt",
    log:
        "<results>/logs/reduce_child/{parent}.log",
    threads: 1
    script:
        "../scripts/reduce_child.py"


rule evaluate_hierarchy:
    """The tree from its reduced tensors, on the test images, beside the full head."""
    input:
        test="<results>/embeddings/test.safetensors",
        val="<results>/embeddings/val.safetensors",
        taxonomy="<results>/taxonomy.json",
        parent="<results>/hierarchy100/parent.safetensors",
        weights=expand("<results>/hierarchy100/reduced/{parent}_weight.pt", parent=PARENTS),
        biases=expand("<results>/hierarchy100/reduced/{parent}_bias.pt", parent=PARENTS),
        linear="<results>/heads/linear/head.safetensors",
        config="<results>/config.yaml",
        hashed=[
            f"{DATASET}/train.parquet",
            f"{DATASET}/test.parquet",
            "<results>/backbone/weights.safetensors",
        ],
        code=code("evaluate_hierarchy"),
    output:
        metrics="<results>/hierarchy100/metrics.json",
        predictions="<results>/hierarchy100/predictions.parquet",
    log:
        "<results>/logs/evaluate_hierarchy.log",
    threads: config["threads"]["heads"]
    params:
        evaluation=stages.evaluation(config),
    script:
        "../scripts/evaluate_hierarchy.py"


rule learn_clusters:
    """Balanced clusters of the classes that the full head confuses on the train images."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        linear="<results>/heads/linear/head.safetensors",
        code=code("learn_clusters"),
    output:
        "<results>/hierarchy10/taxonomy.json",
    log:
        "<results>/logs/learn_clusters.log",
    threads: 1
    params:
        clusters=stages.clusters(config),
    script:
        "../scripts/learn_clusters.py"


rule train_cluster_parent:
    """The parent layer of the learned clusters, alone."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        taxonomy=["<results>/hierarchy10/taxonomy.json"],
        code=code("train_parent"),
    output:
        "<results>/hierarchy10/parent.safetensors",
    log:
        "<results>/logs/train_cluster_parent.log",
    threads: config["threads"]["heads"]
    params:
        parent=stages.cluster_parent(config),
    script:
        "../scripts/train_parent.py"


rule evaluate_cluster_parent:
    """How often the parent layer finds the learned cluster of a test image."""
    input:
        test="<results>/embeddings/test.safetensors",
        taxonomy="<results>/hierarchy10/taxonomy.json",
        parent="<results>/hierarchy10/parent.safetensors",
        code=code("evaluate_cluster_parent"),
    output:
        metrics="<results>/hierarchy10/metrics.json",
        predictions="<results>/hierarchy10/predictions.parquet",
    log:
        "<results>/logs/evaluate_cluster_parent.log",
    threads: 1
    script:
        "../scripts/evaluate_cluster_parent.py"


rule evaluate_checkpoint:
    """The ten-cluster head that came with the study's checkpoint, on the test images."""
    input:
        test="<results>/embeddings/test.safetensors",
        weights=f"{WEIGHTS}.safetensors",
        clusters="resources/taxonomies/study_clusters.json",
        code=code("evaluate_checkpoint"),
    output:
        "<results>/hierarchy10/checkpoint.json",
    log:
        "<results>/logs/evaluate_checkpoint.log",
    threads: 1
    params:
        finetune={"epochs": config["finetune"]["epochs"]},
    script:
        "../scripts/evaluate_checkpoint.py"

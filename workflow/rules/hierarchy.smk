# In: the embeddings of train and the taxonomy.
# Out: the parent, its children and their tensors; learned clusters and their parent.
rule take_parent:
    """The parent layer that the backbone was trained with: each variant's, and the run's if set."""
    input:
        head="{model}/backbone/head.safetensors",
        code=code("take_parent"),
    output:
        "{model}/hierarchy100/parent.safetensors",
    log:
        "{model}/logs/take_parent.log",
    wildcard_constraints:
        model=one_of(model for model in TRAINED if takes_parent(model)),
    threads: 1
    script:
        "../scripts/take_parent.py"


rule train_parent:
    """The parent layer: features to parents, trained alone or together with the classes."""
    input:
        embeddings="{model}/embeddings/train.safetensors",
        taxonomy=LEARNED,
        code=code("train_parent"),
    output:
        "{model}/hierarchy100/parent.safetensors",
    log:
        "{model}/logs/train_parent.log",
    wildcard_constraints:
        model=one_of(model for model in TRAINED if not takes_parent(model)),
    threads: config["threads"]["heads"]
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        parent=stages.parent(config, TAXONOMY),
    script:
        "../scripts/train_parent.py"


rule train_child:
    """One parent's children: a convex softmax regression on that parent's train images."""
    input:
        embeddings="{model}/embeddings/train.safetensors",
        parent=branch(
            config["child"]["input"] == "parent_logits",
            then="{model}/hierarchy100/parent.safetensors",
            otherwise=[],
        ),
        taxonomy=LEARNED,
        code=code("train_child"),
    output:
        "{model}/hierarchy100/children/{parent}.safetensors",
    log:
        "{model}/logs/train_child/{parent}.log",
    threads: 1
    params:
        child=lambda wildcards: stages.child(config, TAXONOMY, int(wildcards.parent)),
    script:
        "../scripts/train_child.py"


rule reduce_child:
    """Only the weight and the bias of a child head, as bare tensors."""
    input:
        child="{model}/hierarchy100/children/{parent}.safetensors",
        code=code("reduce_child"),
    output:
        weight="{model}/hierarchy100/reduced/{parent}_weight.pt",
        bias="{model}/hierarchy100/reduced/{parent}_bias.pt",
    log:
        "{model}/logs/reduce_child/{parent}.log",
    threads: 1
    script:
        "../scripts/reduce_child.py"


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
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        clusters=stages.clusters(config, CATALOG.names),
    script:
        "../scripts/learn_clusters.py"


rule train_cluster_parent:
    """The parent layer of the learned clusters, trained for the clusters alone."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        taxonomy=["<results>/hierarchy10/taxonomy.json"],
        code=code("train_parent"),
    output:
        "<results>/hierarchy10/parent.safetensors",
    log:
        "<results>/logs/train_cluster_parent.log",
    threads: config["threads"]["heads"]
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        parent=stages.cluster_parent(config),
    script:
        "../scripts/train_parent.py"

# In: the data set, the history, predictions, metrics and comparisons.
# Out: what people look at, with captions.
FIGURES = [
    "contact_sheet.png",
    "confusion.png",
    "parents.html",
    "dendrogram.png",
    "cluster_confusion.png",
]
if config["finetune"]["epochs"] > 0:
    FIGURES.append("history.png")


rule draw_contact_sheet:
    """Four train images of each class, by parent."""
    input:
        images=f"{DATASET}/train.npy",
        table=f"{DATASET}/train.parquet",
        taxonomy="<results>/taxonomy.json",
        code=code("draw_contact_sheet"),
    output:
        report(
            "<results>/figures/contact_sheet.png",
            caption="../report/contact_sheet.rst",
            category="Data",
            labels={"figure": "contact sheet"},
        ),
    log:
        "<results>/logs/draw_contact_sheet.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/draw_contact_sheet.py"


rule draw_history:
    """Loss and val accuracy of fine-tuning, by epoch."""
    input:
        history="<results>/backbone/history.csv",
        code=code("draw_history"),
    output:
        report(
            "<results>/figures/history.png",
            caption="../report/history.rst",
            category="Training",
            labels={"figure": "history of fine-tuning"},
        ),
    log:
        "<results>/logs/draw_history.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/draw_history.py"


rule draw_confusion:
    """The confusion matrix of the test images, its classes ordered by parent."""
    input:
        predictions="<results>/hierarchy100/predictions.parquet",
        taxonomy="<results>/taxonomy.json",
        code=code("draw_confusion"),
    output:
        report(
            "<results>/figures/confusion.png",
            caption="../report/confusion.rst",
            category="Results",
            labels={"figure": "confusion by parent"},
        ),
    log:
        "<results>/logs/draw_confusion.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/draw_confusion.py"


rule tabulate_parents:
    """The main figures and the per-parent table as a page."""
    input:
        metrics="<results>/hierarchy100/metrics.json",
        code=code("tabulate_parents"),
    output:
        report(
            "<results>/figures/parents.html",
            caption="../report/parents.rst",
            category="Results",
            labels={"figure": "summary and per-parent table"},
        ),
    log:
        "<results>/logs/tabulate_parents.log",
    threads: 1
    script:
        "../scripts/tabulate_parents.py"


rule draw_clusters:
    """The learned clusters: a dendrogram of confusions on train, and the confusion of their parent."""
    input:
        embeddings="<results>/embeddings/train.safetensors",
        linear="<results>/heads/linear/head.safetensors",
        taxonomy="<results>/hierarchy10/taxonomy.json",
        predictions="<results>/hierarchy10/predictions.parquet",
        code=code("draw_clusters"),
    output:
        dendrogram=report(
            "<results>/figures/dendrogram.png",
            caption="../report/dendrogram.rst",
            category="Results",
            labels={"figure": "dendrogram of the learned clusters"},
        ),
        confusion=report(
            "<results>/figures/cluster_confusion.png",
            caption="../report/cluster_confusion.rst",
            category="Results",
            labels={"figure": "confusion between learned clusters"},
        ),
    log:
        "<results>/logs/draw_clusters.log",
    threads: 1
    params:
        clusters={**stages.clusters(config, CATALOG.names), **stages.picture(config)},
    script:
        "../scripts/draw_clusters.py"


rule draw_pareto:
    """Accuracy against MACs and against bytes, with the frontier and the study's numbers."""
    input:
        table="<results>/pareto.csv",
        study=local("resources/study.csv"),
        backbone="<results>/backbone/cost.json",
        code=code("draw_pareto"),
    output:
        report(
            "<results>/pareto.svg",
            caption="../report/pareto.rst",
            category="Results",
            labels={"figure": "accuracy against cost"},
        ),
    log:
        "<results>/logs/draw_pareto.log",
    threads: 1
    params:
        comparison=stages.beside_study(config),
    script:
        "../scripts/draw_pareto.py"


rule write_study:
    """The study's numbers beside ours, row by row."""
    input:
        table="<results>/pareto.csv",
        study=local("resources/study.csv"),
        defects=local("resources/study_defects.csv"),
        code=code("write_study"),
    output:
        "<results>/study.md",
    log:
        "<results>/logs/write_study.log",
    threads: 1
    params:
        dataset=stages.picture(config),
    script:
        "../scripts/write_study.py"

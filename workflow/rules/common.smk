# In: the merged config.
# Out: the checked config, its taxonomy, and the names that rules share.
import os
import re
import sys

from snakemake.exceptions import WorkflowError

# Here and in the jobs, this checkout's library comes before one that is installed.
sys.path.insert(0, workflow.basedir)
PATHS = [workflow.basedir, os.environ.get("PYTHONPATH", "")]
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, PATHS)))

from treehead.config import (
    architectures,
    own,
    outputs,
    portable,
    provenance,
    settings,
    stages,
    sweeps,
)
from treehead.data import catalog, taxonomy, trees
from treehead.artifacts import InputError

# Each job reads the configuration again; its files are checked once.
FILES = workflow.configfiles if workflow.is_main_process else []
try:
    LAYERS = {file: settings.keys(file) for file in map(os.path.relpath, FILES)}
    settings.check(config, workflow.source_path("../schemas/config.schema.yaml"), LAYERS)
    os.environ.update(portable.environment(config))
    outputs.check(config, LAYERS)
    DATASET = outputs.dataset(config)
    CATALOG = catalog.known(
        config["dataset"], f"{DATASET}/source.json", look=workflow.is_main_process
    )
    outputs.check_apart(config, "dataset.source", CATALOG.files)
    settings.complete(config, CATALOG)
    TAXONOMY = trees.choose(
        config["taxonomy"],
        config["taxonomy_level"],
        dataset=config["dataset"]["name"],
        names=CATALOG.names,
        ancestors=CATALOG.above,
    )
    HEADS = sweeps.expand(config["heads"])
    sweeps.check_baselines(HEADS, config["comparison"]["baselines"])
    sweeps.check_class_weights(HEADS, config["training"])
    DEPLOYED = sweeps.deployed(HEADS, config["deploy"]["head"])
except InputError as error:
    raise WorkflowError(str(error)) from None

PARENTS = [
    str(parent)
    for parent in range(len(TAXONOMY.classes) if TAXONOMY else taxonomy.groups(config["taxonomy"]))
]
# A learned taxonomy is an input of the jobs that need it, since it cannot be a setting.
LEARNED = [] if TAXONOMY else ["<results>/taxonomy.json"]
# What only the images tell, if the configuration does not: their mean and standard deviation.
FOUND = None in (config["dataset"]["mean"], config["dataset"]["std"])
STATISTICS = [f"{DATASET}/statistics.json"] if FOUND else []
DRAWN = config["dataset"]["source"] == "generated"
ORIGIN = [] if DRAWN else [f"{DATASET}/provenance.json"]
WEIGHTS = outputs.weights(config)
# What completes the settings of a network: what comes with the weights, and what the images tell.
COMPLETING = {
    "brought": [f"{WEIGHTS}.json"] if stages.may_bring(config) else [],
    "statistics": STATISTICS,
}


def code(rule, *heads, network=False):
    """A rule's script and the treehead modules that it imports: if one changes, the rule reruns.

    The modules of `heads`, and that of the architecture for a `network`, are those that the script
    loads by name; a network of the user's own has its own files.
    """
    scripts = [f"workflow/scripts/{rule}.py"]
    modules = sorted({f"treehead.heads.{HEADS[head].module}" for head in heads})
    if network:
        modules.append(architectures.module(config["backbone"]["architecture"]))
        scripts += own.files(config["backbone"]["architecture"])
    reached = {file for script in scripts for file in provenance.reached_modules(script, *modules)}
    return local([*scripts, *sorted(reached)])


def file_of(split):
    """The file that holds a split: val is a part of train."""
    return "test" if split == "test" else "train"


def teacher(head):
    """The name of a head's teacher in a list, which is empty if it has none."""
    return [HEADS[head].settings["teacher"]] if "teacher" in HEADS[head].settings else []


def reads_taxonomy(head):
    """Whether a head is fitted to the taxonomy of the configuration."""
    return "parent_of" in sweeps.arguments(HEADS[head].module)


# A model is a folder with a backbone, its embeddings, heads and tree: that of the run, one for each
# variant of it, whose backbone is trained for another objective, and the one in 8 bits.
VARIANTS = stages.variant_names(config, TAXONOMY)
OWN = stages.variant_name(config)
TRAINED = {config["results"]: OWN}
TRAINED |= {f"{config['results']}/networks/{name}": name for name in VARIANTS if name != OWN}
INT8 = stages.int8(config)


def model_of(variant):
    """The folder of a variant's model: that of the configured objective is the run's own."""
    return next(model for model, name in TRAINED.items() if name == variant)


def training_of(model):
    """The configuration that trains the backbone of a model."""
    return stages.for_variant(config, TRAINED[model])


def takes_parent(model):
    """Whether the tree of a model stands on the parent layer that its backbone was trained with."""
    return model != config["results"] or config["parent"]["objective"] == "finetuned"


def one_of(names):
    """The pattern of a wildcard that has one of these values."""
    return "|".join(map(re.escape, names)) or "(?!)"

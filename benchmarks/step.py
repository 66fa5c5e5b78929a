"""Where the time of a training step goes, at each size of its images.

Takes the recipe of a configuration on drawn images, prints the parts of a step and torch's table of
its operations, and writes both to results/bench.
"""

import argparse
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from snakemake.utils import update_config
from torch.profiler import ProfilerActivity, profile

from benchmarks import contestants
from benchmarks.contestants import SIDE, Config
from benchmarks.train import RESULTS, drawn
from treehead import artifacts
from treehead.backbones import cost
from treehead.config import settings, stages
from treehead.data import taxonomy
from treehead.training import compute
from treehead.training.objectives import Objective
from treehead.training.trainer import Classifier, Images, Trainer

OPERATIONS = 12  # rows of the table of operations
WARM_UP = 3  # first steps that don't count
TREE = taxonomy.from_clusters(np.arange(100) // 5, [str(fine) for fine in range(100)])


def timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The function, which adds the seconds that each call takes to a list."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **named)
        seconds.append(time.perf_counter() - start)
        return result

    return run


def trainer(config: Config, size: int, precision: str) -> Trainer:
    """A trainer of the recipe whose images have one size, in pixels, all the time."""
    chosen = stages.finetune(config, TREE) | {
        "progressive": [{"until": 1, "image_size": size}],
        "device": "cpu",
        "precision": precision,
    }
    ready = compute.decided(chosen)
    backbone, images = contestants.built(config), drawn()
    repeats = -(-ready["batch_size"] // len(images.fine))
    batch = Images(np.tile(images.pixels, (repeats, 1, 1, 1)), images.fine.repeat(repeats))
    backbone.whiten(torch.from_numpy(batch.pixels))
    head = Objective(backbone.dim, torch.tensor(ready["parent_of"]), ready)
    return Trainer(Classifier(backbone, head), batch, batch, ready)


def measured(run: Trainer, steps: int) -> tuple[dict[str, float], pd.DataFrame]:
    """Median milliseconds of a step and of two of its parts, and its operations in a profile."""
    rows = torch.arange(run.settings["batch_size"])
    whole, augmenting, updating = [], [], []
    run._augmented = timed(run._augmented, augmenting)
    run.optimizer.step = timed(run.optimizer.step, updating)
    step = timed(run.train_step, whole)
    run.model.train()
    for _ in range(WARM_UP + steps):
        step(rows)
    parts = {"step": whole, "augmentation": augmenting, "optimiser": updating}
    medians = {name: 1e3 * float(np.median(times[WARM_UP:])) for name, times in parts.items()}
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run.train_step(rows)
    events = [(row.key, row.self_cpu_time_total / 1e3, row.count) for row in seen.key_averages()]
    table = pd.DataFrame(events, columns=["operation", "ms", "calls"])
    table["share"] = table["ms"] / table["ms"].sum()
    return medians, table.sort_values("ms", ascending=False).head(OPERATIONS)


def main() -> None:
    """Measure the step at each size of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layer", type=Path, help="the recipe: a layer over config/config.yaml")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=7, help="that count (default 7)")
    options = parser.parse_args()
    config = yaml.safe_load(Path("config/config.yaml").read_text())
    update_config(config, yaml.safe_load(options.layer.read_text()))
    settings.check(config, "workflow/schemas/config.schema.yaml")
    torch.set_num_threads(config["threads"]["backbone"])
    compute.keep_freed_memory()
    kind = compute.precision(options.precision, "cpu")
    peak, rows = contestants.peak(kind, 2), []
    sizes = {*(part["image_size"] for part in config["finetune"]["progressive"]), SIDE}
    for size in sorted(sizes):
        run = trainer(config, size, str(kind).removeprefix("torch."))
        medians, operations = measured(run, options.steps)
        network = config["backbone"] | {"image_size": size}
        macs = cost.macs(contestants.built({**config, "backbone": network}), SIDE)
        batch, seconds = run.settings["batch_size"], medians["step"] / 1e3
        of_peak = 3 * 2 * macs * batch / seconds / peak
        rows.append({"px": size, "images/s": batch / seconds, **medians, "of peak": of_peak})
        print(f"\n{size} px, one step of {batch} images\n{operations.to_string(index=False)}")
        path = RESULTS / f"step-{size}.csv"
        artifacts.write_text(path, operations.to_csv(index=False, float_format="%.4g"))
    table = pd.DataFrame(rows)
    print(f"\n{kind}, {peak / 1e9:.0f} GFLOP/s; milliseconds\n{table.to_string(index=False)}")
    artifacts.write_text(RESULTS / "step.csv", table.to_csv(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()

"""A first configuration for somebody's own pictures."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from snakemake.utils import update_config

from treehead.__main__ import main
from treehead.artifacts import InputError
from treehead.backbones.backbone import network_of
from treehead.config import draft, settings
from treehead.data import catalog

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's configuration, and pictures of fruit and bread beside it."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "workflow/schemas", folder / "workflow/schemas")
    for split, count in (("train", 3), ("test", 1)):
        for place, name in enumerate(("fruit/apple", "fruit/pear", "bread/rye", "bread/toast")):
            for number in range(count):
                path = tmp_path / "My Food" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = (60 * place, 40 * number, 90 if split == "test" else 0)
                Image.new("RGB", (80, 70), colour).save(path)
    monkeypatch.chdir(folder)
    return folder


def merged(*layers: str | Path) -> dict:
    """Layers over the defaults, checked and completed as the graph does it."""
    config = draft.defaults()
    for path in map(Path, layers):
        update_config(config, yaml.safe_load(path.read_text()))
    settings.check(config, "workflow/schemas/config.schema.yaml")
    settings.complete(config, catalog.known(config["dataset"], path.with_suffix(".json"), True))
    return config


def test_the_layer_is_a_right_configuration_that_fits_the_data(project: Path):
    assert main(["init", "../My Food"]) == 0
    config = merged(project / "config/my-food.yaml")
    dataset = config["dataset"]
    assert (config["results"], dataset["name"]) == ("results/my-food", "my-food")
    assert (dataset["classes"], dataset["image_size"]) == (4, 64)
    assert (dataset["mean"], dataset["train_per_class"]) == (None, None)
    assert (config["taxonomy"], config["taxonomy_level"]) == ("superclass", 1)


def test_the_comments_say_what_was_found_and_what_to_do_next(project: Path, capsys):
    shutil.copy("../My Food/train/fruit/apple/0.png", "../My Food/test/fruit/apple/copy.png")
    Path("../My Food/train/fruit/apple/broken.png").write_bytes(b"no picture")
    main(["init", "../My Food", "--out", "config/food.yaml"])
    text = capsys.readouterr().out
    assert text == Path("config/food.yaml").read_text()
    assert "4 classes; pictures: 13 of train, 5 of test" in text
    assert "can't be decoded: 1;" in text
    assert "in train and in test: 1" in text
    assert "There is no val" in text
    assert "snakemake --cores 2 --configfile config/food.yaml -- results/my-food/" in text


def test_a_file_is_never_overwritten(project: Path, capsys):
    main(["init", "../My Food"])
    text = Path("config/my-food.yaml").read_text()
    assert main(["init", "../My Food"]) == 1
    assert "config/my-food.yaml exists already; give another file" in capsys.readouterr().err
    assert Path("config/my-food.yaml").read_text() == text


def test_classes_without_a_tree_get_about_as_many_clusters_as_their_root(project: Path):
    for number in range(9):
        path = Path(f"../flat/class {number}/picture.png")
        path.parent.mkdir(parents=True)
        Image.new("RGB", (40, 40), (20 * number, 0, 0)).save(path)
        Image.new("RGB", (40, 40), (20 * number, 9, 0)).save(path.with_name("other.png"))
    main(["init", "../flat"])
    assert merged(project / "config/flat.yaml")["taxonomy"] == "clusters-3"


def test_outside_of_the_project_the_command_says_where_to_run_it(
    project: Path, capsys, monkeypatch
):
    monkeypatch.chdir(project.parent)
    assert main(["init", "My Food"]) == 1
    assert "run this in the folder of the project" in capsys.readouterr().err


def test_nothing_is_written_for_a_source_that_is_wrong(project: Path, capsys):
    Path("../empty").mkdir()
    assert main(["init", "../empty"]) == 1
    assert "../empty" in capsys.readouterr().err
    assert not Path("config/empty.yaml").exists()


def test_the_network_is_that_of_the_weights_with_its_settings(project: Path):
    network, _ = network_of("airbench", {"widths": [8, 16]}, 32)
    torch.save({"state_dict": network.state_dict()}, "../own.pth")
    assert main(["init", "../My Food", "--weights", "../own.pth"]) == 0
    config = merged("config/finetune.yaml", project / "config/my-food.yaml")
    assert config["finetune"]["optimizer"] == "adamw"
    backbone = config["backbone"]
    assert (backbone["architecture"], backbone["weights"]) == ("airbench", "../own.pth")
    assert backbone["airbench"] == {"widths": [8, 16]}
    assert backbone["image_size"] == 64


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("set #2", "set-2"),
        ("a: b", "a-b"),
        ("- [x], {y}", "x-y"),
        ("2023", "2023"),
        ("010", "010"),
        ("no", "no"),
        ("'quoted' \"twice\"", "quoted-twice"),
        ("ends with a space ", "ends-with-a-space"),
    ],
)
def test_the_layer_reads_what_was_looked_at_whatever_its_name(project: Path, folder: str, name):
    """And nothing beside it, such as the folder `set` for `set #2`."""
    shutil.copytree("../My Food", f"../{folder}")
    shutil.copytree("../My Food/train/fruit", "../set")
    shutil.copytree("../My Food/train/fruit", "../ends with a space")
    assert main(["init", f"../{folder}", "--out", "config/my own.yaml"]) == 0
    text = Path("config/my own.yaml").read_text()
    read = yaml.safe_load(text)["dataset"]
    assert (read["source"], read["name"]) == (f"../{folder}", name)
    assert "--configfile 'config/my own.yaml' -- " in text
    if "{" not in folder:
        config = merged("config/my own.yaml")
        assert config["dataset"]["source"] == f"../{folder}"
        assert config["dataset"]["classes"] == 4


def test_a_name_of_a_class_is_no_line_of_the_layer(project: Path):
    """It may be in a remark, and a comment ends with its line."""
    names = ("a\nseed: 5\nx", "A\nseed: 5\nx")
    contents = [path.read_bytes() for path in sorted(Path("../My Food").rglob("*.png"))]
    labels = [names[at % 2] for at in range(len(contents))]
    pq.write_table(pa.table({"image": contents, "label": labels}), "../pair.parquet")
    assert main(["init", "../pair.parquet"]) == 0
    text = Path("config/pair.yaml").read_text()
    assert "# Note: the classes A seed: 5 x and a seed: 5 x differ only in case." in text
    assert "seed" not in yaml.safe_load(text)


def test_a_layer_that_does_not_read_back_is_told():
    start = draft.Start("phinet", "hub", {}, 160, (60, 160))
    text = "{dataset: {name: set, source: %s}, backbone: {architecture: phinet, weights: hub}}"
    chosen = {"name": "set", "source": "set 2"}
    draft._check_read_back(text % "set 2", chosen, start)
    with pytest.raises(
        InputError, match=r"dataset\.source 'set 2' can't be written as YAML; renam"
    ):
        draft._check_read_back(text % "set", chosen, start)


def test_weights_of_no_network_that_we_know_are_told_before_the_pictures_are_read(
    project: Path, capsys
):
    torch.save({"weight": torch.ones(3, 4)}, "../own.pth")
    assert main(["init", "../My Food", "--weights", "../own.pth"]) == 1
    assert "own.pth fits no network of treehead" in capsys.readouterr().err
    assert not Path("config/my-food.yaml").exists()

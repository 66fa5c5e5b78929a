"""Compact, tree-shaped classifier heads for tiny CNNs: look at what the pipeline made."""

import argparse
import os
import sys

from treehead.artifacts import InputError, refused


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit status 1 for a mistake in what the user gave, 2 for a wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        status = options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `treehead show results | head`: nobody reads the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if not (sentence := refused(error)):
            raise
        print(f"Error: {sentence}", file=sys.stderr)
        return 1
    return status or 0


def _parser() -> argparse.ArgumentParser:
    """One subparser a command; each names the function that runs it."""
    parser = argparse.ArgumentParser(prog="treehead", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = commands.add_parser("show", help="print results as tables", description=_show.__doc__)
    show.set_defaults(command=_show)
    show.add_argument(
        "results",
        nargs="+",
        help="a results folder, chosen.json, metrics.json, pareto.csv or networks.csv",
    )
    show.add_argument(
        "--budget",
        type=_count,
        default=7932,
        metavar="MACS",
        help="most MACs that the best compact head may cost (default: the study's %(default)s)",
    )
    compare = commands.add_parser(
        "compare",
        help="show two or more results folders side by side",
        description=_compare.__doc__,
    )
    compare.set_defaults(command=_compare)
    compare.add_argument("baseline", metavar="RESULTS", help="what the others are tested against")
    compare.add_argument("others", nargs="+", metavar="RESULTS", help="a results folder")
    compare.add_argument("--csv", metavar="FILE", help="write the rows to a CSV file as well")
    compare.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    predict = commands.add_parser(
        "predict", help="say what pictures show", description=_predict.__doc__
    )
    predict.set_defaults(command=_predict)
    predict.add_argument("model", metavar="MODEL", help="a results folder, or a classifier's file")
    predict.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURES",
        help="pictures, folders, patterns in quotes, or - for a list of paths on standard input",
    )
    predict.add_argument(
        "--top", type=_positive, default=5, help="classes of each picture (default: %(default)s)"
    )
    form = predict.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", metavar="FILE", help="write a row for each class as CSV; - prints it"
    )
    form.add_argument(
        "--json", metavar="FILE", help="write a line of JSON for each picture; - prints it"
    )
    evaluate = commands.add_parser(
        "evaluate", help="measure a classifier on labelled pictures", description=_evaluate.__doc__
    )
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("model", metavar="MODEL", help="a results folder, or a classifier's file")
    evaluate.add_argument(
        "dataset", metavar="DATASET", help="a folder, a list, a table, or <owner>/<name> of the hub"
    )
    evaluate.add_argument("--csv", metavar="FILE", help="write the row of each class to a CSV file")
    for command in (predict, evaluate):
        command.add_argument("--threads", type=_positive, default=0, help="default: all processors")
    verify = commands.add_parser(
        "verify",
        help="check that all files of results are as they were made",
        description=_verify.__doc__,
    )
    verify.set_defaults(command=_verify)
    verify.add_argument("results", nargs="+", metavar="RESULTS", help="a results folder")
    publish = commands.add_parser(
        "publish",
        help="upload a run to the hub, with its model card",
        description=_publish.__doc__,
    )
    publish.set_defaults(command=_publish)
    publish.add_argument("repo", metavar="REPO", help="<owner>/<name>, made if it is not there")
    publish.add_argument("--results", default="results", help="default: %(default)s")
    publish.add_argument("--private", action="store_true", help="only its owner sees it")
    publish.add_argument("--license", metavar="ID", help="such as mit; default: none is stated")
    init = commands.add_parser(
        "init",
        help="look at a folder, a list or a hub data set, and write a configuration for it",
        description=_init.__doc__,
    )
    init.set_defaults(command=_init)
    init.add_argument(
        "source", metavar="PATH-OR-HUB-ID", help="a folder, a list, a table, or <owner>/<name>"
    )
    init.add_argument("--out", default="", metavar="FILE", help="default: config/<name>.yaml")
    init.add_argument(
        "--weights",
        default="scratch",
        help="what to start from: any weights file, hub, or scratch (default)",
    )
    inspect = commands.add_parser(
        "inspect",
        help="say what a weights file is, which network it fits, and how to use it",
        description=_inspect.__doc__,
    )
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("weights", nargs="+", metavar="WEIGHTS", help="a weights file")
    inspect.add_argument(
        "--key", metavar="NAME", help="the part of the file to take, such as state_dict_ema"
    )
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError(text)
    return number


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _show(options: argparse.Namespace) -> None:
    """Print the main figures of results as tables."""
    from treehead.report import tables

    for path in options.results:
        for file in tables.files(path):
            print(f"\n{file}\n{tables.text(file, options.budget)}")


def _compare(options: argparse.Namespace) -> None:
    """Print the settings and the figures that differ between results.

    Accuracies are tested where both folders have predictions that are proven to be of the same test
    images.
    """
    from pathlib import Path

    from treehead.evaluation import differences
    from treehead.report import differences as report

    found = differences.compare([Path(folder) for folder in (options.baseline, *options.others)])
    if options.csv:
        report.write_csv(options.csv, found)
    print(report.text(found, markdown=options.markdown))


def _predict(options: argparse.Namespace) -> int:
    """Say what each picture shows: the likeliest classes, their parents and probabilities.

    A picture that can't be read is told in its place, and the exit status is 1 then.
    """
    from treehead import console
    from treehead.deploy import prediction
    from treehead.report import predicted

    threads = options.threads or os.cpu_count() or 1
    model = prediction.opened(options.model)
    given = prediction.listed(sys.stdin.buffer.read()) if "-" in options.pictures else []
    paths = prediction.found((name for name in options.pictures if name != "-"), given)
    found = prediction.predict(model, paths, threads)
    form = "csv" if options.csv else "json" if options.json else "text"
    file, broken = options.csv or options.json, 0
    with console.shown(), predicted.writer(form, file, model.about, options.top) as write:
        pairs = zip(paths, found, strict=True)
        for path, each in console.progress(pairs, "predict", len(paths), "pictures"):
            write(path, each)
            broken += each.probabilities is None
        if broken:
            console.say(f"{broken:,} of {len(paths):,} pictures can't be read; their rows say why.")
    return int(broken > 0)


def _evaluate(options: argparse.Namespace) -> None:
    """Measure a classifier on labelled pictures: those of test, if the data have splits.

    Their classes are the classifier's by name.
    """
    from treehead import console
    from treehead.deploy import prediction
    from treehead.evaluation import classes, labelled
    from treehead.report import evaluated

    threads = options.threads or os.cpu_count() or 1
    model = prediction.opened(options.model)
    with console.shown():
        given = labelled.look(options.dataset, model.about)
        report, table = labelled.evaluate(model, given, threads)
    if options.csv:
        classes.write(options.csv, table)
    print(evaluated.text(report, table))


def _verify(options: argparse.Namespace) -> int:
    """Check the files of results folders by the SHA-256 that the job recorded that made each.

    So is each file that they were made from, back to the images and the first weights. The exit
    status is 1 if one changed, or was made from others than are there now. Your own files and the
    code may change: it is told, and no fault.
    """
    from treehead import console, records

    faults = 0
    for folder in options.results:
        with console.shown():
            found = records.verify(folder)
        for fault in found.faults.values():
            print(fault)
        notes = {
            "No record, so not checked": found.unknown,
            "Read by a job, and there no more": found.absent,
            "Your own or code, and changed since a job read it": found.edited,
        }
        for note, files in notes.items():
            if files:
                names = ", ".join(map(records.shown, files[:3]))
                more = f" and {len(files) - 3:,} more" if len(files) > 3 else ""
                print(f"{note}: {names}{more}.")
        good = len(found.files) - len(found.faults.keys() & set(found.files))
        print(f"{folder}: {good:,} of {len(found.files):,} files are as they were made.")
        faults += len(found.faults)
    return int(faults > 0)


def _publish(options: argparse.Namespace) -> None:
    """Upload a run to the hub: its model card, classifiers, head in C, classes and metrics.

    deploy/classifier.onnx must be there; classifier-int8.onnx, head.h and head.c go with it if they
    are. Run it in the folder of the project. The metrics name the source of the data as configured.
    """
    from treehead.deploy import publish

    told = {"private": options.private, "license": options.license}
    print(f"Published {publish.publish(options.results, options.repo, **told)}")


def _init(options: argparse.Namespace) -> None:
    """Look at somebody's own pictures, and write a short, commented configuration for them.

    Run it in the folder of the project. It never overwrites a file.
    """
    from treehead import console
    from treehead.config import draft

    with console.shown():
        print(draft.write(options.out, options.source, options.weights, draft.defaults()), end="")


def _inspect(options: argparse.Namespace) -> None:
    """Say what a weights file holds, which network it fits, and the lines that use it."""
    from treehead import console
    from treehead.backbones.checkpoints import inspection

    with console.shown():
        for path in options.weights:
            print(inspection.text(path, options.key))


if __name__ == "__main__":
    sys.exit(main())

"""Every command with its options and its help, which load nothing but click: what a command does is imported late."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from invdesign_core.cli.completing import input_names, of_kind, output_names, plugin_names, run_folders
from invdesign_core.cli.output import print_line
from invdesign_core.errors import PluginError, described, own_version
from invdesign_core.workflow.defaults import DEFAULTS

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


class Command(click.Command):
    """A command that refuses an option given twice, where click would keep only the last value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        if not ctx.resilient_parsing:
            given = self.make_parser(ctx).parse_args(list(args))[2]
            for option in given:
                once = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
                if once and given.count(option) > 1:
                    flag, value = option.opts[0], option.make_metavar(ctx)
                    raise click.UsageError(
                        f"{flag}: given {given.count(option)} times, expected once, as {flag} {value}", ctx
                    )
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group whose commands are listed in the order in which they are usually needed, each with `--traceback`."""

    command_class = Command

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, which can show where an error came up."""
        if not isinstance(cmd, click.Group):
            cmd.params.append(
                click.Option(
                    ["--traceback"],
                    is_flag=True,
                    expose_value=False,
                    callback=_show_traceback,
                    help="Show every line of code that led to an error. Same as INVDESIGN_TRACEBACK=1.",
                )
            )
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order below."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and keep from click what it would take for something else than it is."""
        try:
            return super().invoke(ctx)
        except (EOFError, BrokenPipeError) as error:  # for click Ctrl-C at a prompt, and a reader who went away
            raise RuntimeError(described(error)) from error
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # no command ends the program, nor raises what nobody would catch
            frames = traceback.extract_tb(error.__traceback__)
            raise PluginError(
                f"{frames[-1].filename}, line {frames[-1].lineno}: {described(error)}", "this is a fault of the plugin"
            ) from error


def in_order(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds options to a command in the order in which help lists them."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def repeatable(flag: str, metavar: str, text: str, name: str | None = None, offers: Any = None) -> Callable[[F], F]:
    """Return an option that may be given more than once; `offers` completes it in a shell."""
    text = f"{text} Repeatable."
    return click.option(flag, name or flag[2:], multiple=True, metavar=metavar, help=text, shell_complete=offers)


others_options = in_order(
    repeatable("--plugin", "FILE.py", "A Python file with plugins of your own in it.", "plugin_files"),
    repeatable(
        "--no-plugin",
        "NAME",
        "A plugin, observer or distribution that counts as not installed.",
        "no_plugins",
        plugin_names,
    ),
)


def plugin_options(*kinds: str) -> Callable[[F], F]:
    """Return an option for the plugin of each kind."""
    return in_order(
        *(
            click.option(
                f"--{k}", metavar="NAME", help=f"The {k} plugin; by default {DEFAULTS[k]}.", shell_complete=of_kind(k)
            )
            for k in kinds
        )
    )


design_options = in_order(
    repeatable(
        "--bounds",
        "NAME=LOW..HIGH",
        "Bounds of a variable; several ranges with commas: NAME=1..2,4..5.",
        offers=input_names,
    ),
    repeatable("--fixed", "NAME=VALUE", "Fix a variable at one value.", offers=input_names),
    repeatable(
        "--condition",
        "NAME=DISTRIBUTION",
        "An input that is measured and not chosen: NAME=data, its measured values, NAME=A,B,…, values that are equally "
        "likely, or 'NAME=mean 22, sd 3'. Designs meet the target on average over it.",
        "conditions",
        input_names,
    ),
    repeatable("--levels", "NAME=A,B,…", "The only values of a variable.", offers=input_names),
    repeatable(
        "--step",
        "NAME=STEP",
        "Allow only multiples of a step; 'NAME=STEP from START' counts from a number other than 0.",
        offers=input_names,
    ),
    repeatable("--log", "NAME", "Search a variable on a log scale.", offers=input_names),
    click.option("--margin", type=click.FloatRange(0), help="Widen the data's bounds by this share of their range."),
    repeatable("--constraint", "TEXT", "What designs must satisfy, such as 'a + b <= 1'.", "constraints"),
    repeatable(
        "--near",
        "NAME=VALUE,…|FILE:ROW",
        "A reference design, or some of its values, that answers stay close to: values, or a row of a "
        "table, counted from 1; a table with one row needs no number.",
        offers=input_names,
    ),
    click.option(
        "--fewest-changes", is_flag=True, help="Change as few values of the reference design (--near) as possible."
    ),
    click.option(
        "--stay-near-data",
        is_flag=True,
        help="Only accept designs as close to a measured one as measured designs are to each other.",
    ),
)
"""An option for each key of `[design]`."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target_option = repeatable(
    "--target",
    "NAME=VALUE",
    "Target for an output: NAME=2, 'NAME<=1', 'NAME>=1', NAME=1..2, NAME=max, NAME=min or NAME=free, optionally "
    "followed by 'tolerance 0.1' or 'weight 2'; a single output needs no name.",
    "targets",
    output_names,
)
set_option = repeatable(
    "--set", "SECTION.KEY=VALUE", "Set any key of the experiment file, such as solver.starts=16.", "overrides"
)
backend_option = click.option(
    "--backend", type=click.Choice(["jax", "tensorflow"]), help="What Keras runs on; by default jax."
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Fixes data, training, starts and result.")
time_limit_option = click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="Maximum duration of the search; it then returns the best designs so far. Same as --set solver.time_limit=…",
)
compute_option = click.option(
    "--compute",
    type=click.Choice(["local", "ray"]),
    help="Who does the work: this process, or the workers of a Ray cluster. Same as --set compute.use=…",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print only the result.")
names_options = in_order(
    click.option(
        "--inputs",
        metavar="A,B,…",
        help="For a model: names of its inputs, in order. A name in double quotes may contain a comma.",
    ),
    click.option("--outputs", metavar="A,B,…", help="For a model: names of its outputs, in order."),
)
allow_code_option = click.option(
    "--allow-code",
    is_flag=True,
    help="Let code of the run or model run: Lambda layers, pickles, plugins in files.",
)
code_options = in_order(
    allow_code_option,
    repeatable(
        "--import",
        "MODULE|FILE.py",
        "Import your Python code before the model is loaded: layer classes and functions of your own.",
        "imports",
    ),
)


def _do(function: str, given: dict[str, Any]) -> Any:
    """Call ``module.function`` of this package with the options as they were given."""
    module, name = function.split(".")
    return getattr(import_module(f"invdesign_core.cli.{module}"), name)(**given)


def _show_traceback(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ["INVDESIGN_TRACEBACK"] = "1"


def _print_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        print_line(f"invdesign, version {own_version()}")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Which inputs give the output I want?

    Train a surrogate on a table of designs and measured responses, and invert it.

    \b
    Examples:
      invdesign run                                the built-in example: which digits write 2?
      invdesign init mine.csv --outputs H2         an experiment file for your own table
      invdesign run mine.toml --target 'H2=0.33'   your own table, as the file says
      invdesign solve runs/… --target 'H2=0.30'    another target, without training again
      invdesign predict runs/… mine.csv            what the surrogate answers for designs of yours
    """


@cli.command(short_help="Write a commented experiment file for a table of your own.")
@click.argument("table", type=PATH)
@click.option("--outputs", required=True, metavar="A,B,…", help="The measured columns that targets are set for.")
@click.option("--out", type=PATH, help="The file to write; by default the table's name.toml.")
@repeatable("--set", "KEY=VALUE", "An option of the table dataset, such as skip_rows=1.", "overrides")
@quiet_option
def init(**given: Any) -> None:
    """Read a table, and write an experiment file with what was found in it.

    The file lists each input's kind and range, notes about the table, and a target to fill in.

    \b
    Examples:
      invdesign init mine.csv --outputs H2,N2
      invdesign init mine.csv --outputs 'flow rate' --set decimal=, --out first.toml
    """
    _do("init.init", given)


@cli.command(short_help="Train a surrogate on a table and find the designs that hit a target.")
@click.argument("experiment", required=False, type=PATH)
@plugin_options(*DEFAULTS)
@others_options
@set_option
@target_option
@design_options
@seed_option
@backend_option
@time_limit_option
@compute_option
@click.option("--out", type=PATH, help="The run folder; by default a new one below runs/.")
@click.option("--resume", is_flag=True, help="Continue the unfinished run in --out; finished trials are kept.")
@json_option
@quiet_option
def run(**given: Any) -> Any:
    """Load, split, tune, train, save, invert, report.

    EXPERIMENT is a TOML file (see `invdesign schema`). Without one, features.parquet and
    targets.parquet of the current folder are taken if both are there, else the built-in example.

    \b
    Examples:
      invdesign run
      invdesign run mine.toml --target 'H2=0.33' --target 'N2<=0.34'
      invdesign run mine.toml --target H2=max --constraint 'a + b + c = 1' --step T=5
      invdesign run --dataset table --set dataset.path=mine.csv --set 'dataset.outputs=["y"]' --target 2
    """
    return _do("run.run", given)


@cli.command(short_help="Invert a saved run, or a Keras model of your own.")
@click.argument("run_or_model", metavar="RUN|MODEL.keras", type=PATH, shell_complete=run_folders)
@target_option
@plugin_options("objective", "solver")
@others_options
@set_option
@design_options
@click.option("--table", type=PATH, help="For a model: a table whose columns give names and bounds.")
@names_options
@click.option(
    "--targets",
    "target_table",
    type=PATH,
    help="A table of targets: a column for each output, and for each variable that a target comes with; NAME and "
    "design.NAME are the same variable.",
)
@click.option("--out", type=PATH, help="The .csv, .parquet or .xlsx file for the designs.")
@click.option("--report", "page", type=PATH, help="The .html file for a report, to be looked at.")
@click.option(
    "--designs",
    type=click.IntRange(1, 1_000_000),
    help="How many different designs to report; by default 5, or 1 with --targets.",
)
@click.option(
    "--truth",
    is_flag=True,
    help="Put the designs through what the run's [truth] names: this runs its function or program.",
)
@seed_option
@backend_option
@time_limit_option
@compute_option
@code_options
@json_option
@quiet_option
def solve(**given: Any) -> Any:
    """Find the inputs that give another target, without training.

    A run folder contains its variables, bounds and settings. For a .keras file of your own, give the
    bounds, or a table to take them from. Layer classes of your own need --import.

    \b
    Examples:
      invdesign solve runs/20260101-120000 --target 3
      invdesign solve runs/20260101-120000 --target H2=max --target 'N2<=0.34' --bounds T=300..350
      invdesign solve runs/20260101-120000 --target 3 --near a=0.2,b=0.3 --fewest-changes
      invdesign solve mine.keras --bounds x1=0..1 --bounds x2=0..1 --target 1.3
      invdesign solve mine.keras --table mine.csv --outputs H2,N2 --target H2=0.33
      invdesign solve runs/20260101-120000 --target 3 --out designs.xlsx
      invdesign solve runs/20260101-120000 --targets wanted.csv --out designs.csv
    """
    return _do("solve.solve", given)


@cli.command(short_help="Predict the outputs of the designs in a table.")
@click.argument("run_or_model", metavar="RUN|MODEL.keras", type=PATH, shell_complete=run_folders)
@click.argument("table", metavar="TABLE", type=PATH)
@click.option(
    "--out",
    type=PATH,
    help="The .csv, .parquet or .xlsx file for the table with its predictions; by default they are printed as CSV.",
)
@names_options
@repeatable(
    "--set", "KEY=VALUE", "How TABLE is written: an option of the table dataset, such as header=no.", "overrides"
)
@backend_option
@code_options
@json_option
@quiet_option
def predict(**given: Any) -> None:
    """Add the predicted outputs to a table of designs.

    TABLE has a column for each design variable, named NAME or, as in the tables that `invdesign solve`
    writes, design.NAME; - reads it from standard input. All its columns are kept; prediction.NAME and,
    for an ensemble, spread.NAME are added.

    \b
    Examples:
      invdesign predict runs/20260101-120000 mine.csv
      invdesign predict runs/20260101-120000 designs.xlsx --out predicted.xlsx
      invdesign predict mine.keras mine.csv --inputs flow,heat --outputs yield --json
    """
    _do("predict.predict", given)


@cli.command(short_help="Propose experiments: the next ones of a run, or the first ones.")
@click.argument("run", required=False, metavar="[RUN]", type=PATH, shell_complete=run_folders)
@click.option("--design", type=PATH, help="An experiment file: plan the first experiments, without any data.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=6, show_default=True, help="How many experiments.")
@click.option("--out", type=PATH, help="The .csv, .parquet or .xlsx file to write; by default they are printed as CSV.")
@target_option
@set_option
@design_options
@click.option("--repeats", is_flag=True, help="Also propose designs that are measured already.")
@seed_option
@backend_option
@click.option(
    "--allow-code",
    is_flag=True,
    help="Let code of the run or model run: Lambda layers, pickles, plugins in files.",
)
@json_option
@quiet_option
def propose(**given: Any) -> None:
    """Write the experiments that teach most, with columns to fill in what is measured.

    Of a RUN they come with predictions, intervals and the probability that a measurement meets the
    target; without a target they are where the surrogate knows least. With --design they fill the
    space that an experiment file describes, whose table need not be there yet.

    \b
    Examples:
      invdesign propose --design draft.toml --batch 20 --out next.csv
      invdesign propose runs/20260101-120000 --target H2=0.33 --batch 6 --out next.csv
    """
    _do("propose.propose", given)


@cli.command(short_help="Learn what was measured, and propose the next experiments.")
@click.argument("run", metavar="RUN", type=PATH, shell_complete=run_folders)
@click.argument("table", metavar="TABLE", type=PATH)
@target_option
@click.option(
    "--batch",
    type=click.IntRange(0, 10_000),
    help="How many experiments to propose next; by default as many as were learnt.",
)
@click.option("--out", type=PATH, help="The .csv, .parquet or .xlsx file for the next experiments.")
@click.option(
    "--afresh",
    is_flag=True,
    help="Train from the beginning, as the run did; done anyway once the rows have doubled since.",
)
@set_option
@design_options
@seed_option
@backend_option
@click.option(
    "--allow-code",
    is_flag=True,
    help="Let code of the run or model run: Lambda layers, pickles, plugins in files.",
)
@json_option
@quiet_option
def learn(**given: Any) -> None:
    """Add measured rows to a run, train its surrogate on, and propose again.

    TABLE has a column for each design variable and output, as `invdesign propose` writes it. Rows in which
    nothing is filled in are skipped. What is measured is shown beside what was predicted. The run keeps
    what it had: the rows make a new round below it, which other commands then use.

    \b
    Examples:
      invdesign learn runs/20260101-120000 next.csv --out next2.csv
      invdesign learn runs/20260101-120000 measured.xlsx --target H2=0.33 --batch 4
    """
    _do("learn.learn", given)


@cli.command(short_help="Ask a true model about the designs that teach most, until a target is met.")
@click.argument("run", metavar="RUN", type=PATH, shell_complete=run_folders)
@target_option
@click.option("--targets", "target_table", type=PATH, help="A table of targets, as `invdesign solve` takes it.")
@click.option(
    "--rounds", type=click.IntRange(1, 1_000_000), default=5, show_default=True, help="How many rounds at most."
)
@click.option(
    "--budget",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="True evaluations for each target at most.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    help="Designs for each target in a round; by default the budget over the rounds.",
)
@click.option("--out", type=PATH, help="The .csv, .parquet or .xlsx file for the best design of each target.")
@click.option("--truth", is_flag=True, help="Ask what the run's [truth] names: this runs its function or program.")
@set_option
@design_options
@seed_option
@backend_option
@time_limit_option
@compute_option
@allow_code_option
@json_option
@quiet_option
def refine(**given: Any) -> Any:
    """Solve, put the designs that teach most through the true model, learn them, and so on.

    It ends when every target is met within its tolerance by the true model, or its budget is spent. The
    rounds are kept below the run; the same command goes on where it was stopped.

    \b
    Examples:
      invdesign refine runs/20260101-120000 --target y=2 --rounds 4 --budget 20
      invdesign refine runs/20260101-120000 --truth --targets wanted.csv --out best.csv
    """
    return _do("refine.refine_run", given)


@cli.command(short_help="Write the report of a run as one HTML file.")
@click.argument("run", metavar="RUN", type=PATH, shell_complete=run_folders)
@click.option("--targets", type=PATH, help="A table of targets that was solved: its report is written.")
@click.option("--designs", type=PATH, help="With --targets: the file that `invdesign solve --targets` wrote.")
@click.option("--out", type=PATH, help="The .html file; by default report.html in that folder.")
@click.option("--allow-code", is_flag=True, help="Let code stored in the surrogate's files run.")
@backend_option
def report(**given: Any) -> None:
    """Write the designs, curves to play with, and how good the model is, as one HTML file.

    RUN is a run folder, or the folder of a later solve in it. A run and a solve write this file
    themselves; the file needs neither Python nor a network, and may be mailed.

    \b
    Examples:
      invdesign report runs/20260101-120000
      invdesign report runs/20260101-120000/solve/2 --out for-the-lab.html
      invdesign report runs/20260101-120000 --targets wanted.csv --designs designs.csv --out table.html
    """
    _do("report.report", given)


@cli.group(cls=Group)
def runs() -> None:
    """List saved runs, compare two of them, or delete some.

    \b
    Examples:
      invdesign runs list
      invdesign runs compare runs/first runs/second
      invdesign runs rm runs/first
    """


@runs.command("list")
@click.argument("folder", metavar="[FOLDER]", type=PATH, default="runs")
@json_option
def list_runs(**given: Any) -> None:
    """List the runs in a folder: when each began, what came of it, how good its surrogate is, and its size.

    FOLDER is runs where it is not given. Folders that are no runs, or damaged, are named.

    \b
    Examples:
      invdesign runs list
      invdesign runs list elsewhere --json
    """
    _do("runs.list_them", given)


@runs.command("compare")
@click.argument("first", metavar="A", type=PATH, shell_complete=run_folders)
@click.argument("second", metavar="B", type=PATH, shell_complete=run_folders)
@json_option
def compare_runs(**given: Any) -> None:
    """Show what two runs differ in: settings, data and versions, errors, and the best design of each.

    \b
    Examples:
      invdesign runs compare runs/first runs/second
      invdesign runs compare runs/first runs/second --json
    """
    _do("runs.compare", given)


@runs.command("rm")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH, shell_complete=run_folders)
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@json_option
def remove_runs(**given: Any) -> Any:
    """Delete run folders, after a question.

    Only what a run wrote is deleted: a folder that is damaged, holds other files, is a link, or is being written by
    another process stays and is named.

    \b
    Examples:
      invdesign runs rm runs/20260101-120000
      invdesign runs rm runs/first runs/second --yes
    """
    return _do("runs.remove", given)


@cli.command(short_help="Measure designs by a true model: published tasks, or a dataset of your own.")
@click.argument("tasks", nargs=-1, metavar="[DATASET|EXPERIMENT.toml]...")
@plugin_options("surrogate", "tuner", "objective", "solver")
@others_options
@set_option
@click.option("--rows", type=click.IntRange(4), help="Rows to learn from. Same as --set dataset.rows=…")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many seeds to run with.")
@click.option(
    "--targets",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many held-out rows to take as targets.",
)
@click.option("--coverage", is_flag=True, help="Measure the intervals at the designs instead: how often they hold.")
@click.option(
    "--noise",
    type=click.FloatRange(0),
    help="With --coverage: noise on the rows to learn from, as a share of each output's range.",
)
@seed_option
@backend_option
@time_limit_option
@click.option("--out", type=PATH, help="A file for the result as JSON.")
@json_option
@quiet_option
def benchmark(**given: Any) -> None:
    """Train, find designs for held-out targets, rank them, and only then ask the true model.

    Each DATASET is the name of a dataset that knows its truth; without any, the two published tasks
    sine-wave and robotic-arm are run. r_T is the lowest mean squared error among the first T designs
    for a target, averaged over the targets.

    \b
    Examples:
      invdesign benchmark
      invdesign benchmark sine-wave --rows 500 --seeds 1 --surrogate selu-mlp
      invdesign benchmark mine.toml --set training.members=10 --out result.json
    """
    _do("benchmark.benchmark", given)


@cli.group(cls=Group)
def plugins() -> None:
    """List the installed plugins, or show one.

    \b
    Examples:
      invdesign plugins list
      invdesign plugins show lbfgsb
    """


@plugins.command("list")
@others_options
@json_option
def list_plugins(**given: Any) -> None:
    """List every plugin with the distribution that brings it, and those that could not be loaded."""
    _do("listing.list_plugins", given)


@plugins.command("show")
@click.argument("name", shell_complete=plugin_names)
@click.option("--kind", help="The kind, where two kinds have a plugin of that name.")
@click.option("--markdown", is_flag=True, help="Print the options as a Markdown table.")
@others_options
@json_option
def show_plugin(**given: Any) -> None:
    """Show what a plugin does and every option that it has.

    \b
    Example:
      invdesign plugins show lbfgsb
    """
    _do("listing.show_plugin", given)


@plugins.command("check")
@click.argument("name", shell_complete=plugin_names)
@click.option("--kind", help="The kind, where two kinds have a plugin of that name.")
@repeatable("--set", "KEY=VALUE", "An option of the plugin.", "overrides")
@others_options
@json_option
def check_plugin(**given: Any) -> Any:
    """Hold a plugin to everything that the contract of its kind promises.

    It takes up to some minutes for a surrogate, which is trained. The exit code is 3 where a check failed.

    \b
    Examples:
      invdesign plugins check lbfgsb
      invdesign plugins check weighted --plugin my_objective.py --set 'weights={y=2.0}'
    """
    return _do("plugin_author.check", given)


@plugins.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--out", "folder", type=PATH, help="The folder to write; by default invdesign-NAME.")
@quiet_option
def new_plugin(**given: Any) -> None:
    """Write a distribution with a plugin of your own, to be changed: it can be installed as it is.

    KIND is dataset, surrogate, tuner, objective, solver, or all for one of each.

    \b
    Examples:
      invdesign plugins new solver shrink
      invdesign plugins new all thinfilm --out thinfilm
    """
    _do("plugin_author.new", given)


@cli.command(short_help="Check an experiment file, its plugins, data and targets, without training.")
@click.argument("experiment", required=False, type=PATH)
@plugin_options(*DEFAULTS)
@others_options
@set_option
@target_option
@design_options
@click.option("--no-data", is_flag=True, help="Don't load the data; targets are then not checked.")
@json_option
@quiet_option
def validate(**given: Any) -> None:
    """Check an experiment without training: keys, plugins and their options, data, design, targets.

    It refuses what `run` would refuse, and prints the same notes about the table.

    \b
    Examples:
      invdesign validate mine.toml
      invdesign validate mine.toml --target H2=max --constraint 'a + b = 1'
      invdesign validate mine.toml --no-data --json
    """
    _do("validate.validate", given)


@cli.command(short_help="Show every key of the experiment file.")
@click.option("--result", is_flag=True, help="Show the result's JSON instead: what --json prints.")
@json_option
def schema(**given: Any) -> None:
    """Show every key of the experiment file, or its JSON Schema (--json), for editors and scripts.

    \b
    Examples:
      invdesign schema
      invdesign schema --json > experiment.schema.json
      invdesign schema --result --json
    """
    _do("listing.show_schema", given)


@cli.command(short_help="Let the shell complete commands, plugins, run folders and columns with Tab.")
@click.argument("shell", required=False, type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Install it for new shells, instead of printing the script.")
def completion(**given: Any) -> None:
    """Print the script that lets a shell complete what is typed, or install it.

    SHELL is by default that in $SHELL. --install writes the script into your own data folder, and, for bash and zsh, a
    line that reads it into ~/.bashrc or ~/.zshrc.

    \b
    Examples:
      invdesign completion --install
      invdesign completion zsh > _invdesign
    """
    _do("completion.completion", given)

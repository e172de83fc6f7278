"""Generated inputs for the commands, each of which has to end in words: no traceback, no hang, no file changed.

python tests/benchmarks/fuzz.py --cases 2000 --seed 1     draws cases and prints those that fail
python tests/benchmarks/fuzz.py --keep tests/corpus       keeps those that fail, for tests/test_corpus.py

The cases are experiment files, options, constraints, and tables as text, parquet and Excel, mostly a few changes away
from ones that are right. A process of its own runs them, so that one which dies or takes too long is noted.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 124}
"""What a command may end with; 70 is a bug, and 130 was too slow here."""
SECONDS, MEGABYTES = 10, 1000
"""How long a case may take, and by how much it may raise the memory."""


def words(text: str, *more: str) -> tuple[str, ...]:
    """Return the words of a text, and some that hold blanks."""
    return (*text.split(), *more)


NUMBERS = words(
    """0 1 -1 2 0.5 1e308 -1e308 1e309 1e39 1e300 1e-320 5e-324 nan inf -inf 0x10 1_000 1,5 1.5.2 --1 +-1 1e １ ٣
    true 1/3 9223372036854775807 9223372036854775808 -9223372036854775809 99999999999999999999999""",
    *("", " ", "1 mm", "5 %", "1" + "0" * 400),
)
WORDS = words(
    """x a b k n y z u v max min free auto data None null true [] {} [1] ['a'] {a=1} " ' \\ a.b é \u202ea \x1b[31m
    =1 =cmd ../x / * ? [[]] [nan] [0,1] [1,0] {by=0.1} {mean=1,sd=1} .. 0..1 1..0 <=1 \udcff""",
    *("\t", "a" * 300),
)
KEYS = words(
    """solver.starts solver.time_limit solver.use solver.init solver.discrete solver objective.use design.margin
    design.near design.designs design.bounds.a design.levels.k design.step.a design.log design.fixed.k
    design.constraints design.conditions.a design.fewest_changes design.stay_near_data confidence.level
    confidence.use units.y units.a derive.q targets.y targets.q seed backend training.epochs
    training.members training.test training.validation training.batch training.scale dataset.path
    dataset.outputs dataset.inputs dataset.kinds.a dataset.skip_rows dataset.header dataset.separator
    dataset.decimal dataset.missing dataset.labels dataset.numbers dataset.leave_out dataset.encoding
    dataset.comment dataset.groups dataset.weights dataset.names dataset.below_limit surrogate.terms
    surrogate.use tuner.use tuner.max_trials truth.command truth.function plugins.files"""
)
PIECES = words(
    'a b n k y q "a" 1 2.5 1e308 1e309 0 + - * / ^ ** ( ) | <= >= = < > sqrt( log( exp( min( ,',
    *(" ", "at most 1 of a, b above zero", "-" * 50, "5 mm"),
)
OPTIONS = words("target target near bounds step fixed levels condition log margin seed designs")
EXPERIMENT = """seed = 0

[dataset]
use = "table"
path = "t.csv"
outputs = ["y", "z"]
inputs = ["a", "b", "k", "n"]

[dataset.kinds]
a = "continuous"
n = "integer"

[surrogate]
use = "ridge"

[training]
epochs = 10
test = 0.1

[design]
margin = 0.1

[design.bounds]
a = [0, 1]
b = [[0, 0.4], [0.5, 1]]

[design.step]
b = 0.1

[derive]
q = "2*a + exp(b)"

[units]
y = "mm"

[solver]
use = "dataset-search"
starts = 8

[targets]
y = "1..2 weight 2"
z = { at_most = 1, tolerance = 0.1 }
"""


@dataclass(frozen=True)
class Case:
    """A command, and the files that lie in its folder beside those that are always there."""

    kind: str
    args: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as a file keeps it: texts as they are, other contents in base64."""
        files: dict[str, Any] = {}
        for name, content in self.files.items():
            try:
                files[name] = content.decode("utf-8")
            except UnicodeDecodeError:
                files[name] = {"base64": base64.b64encode(content).decode()}
        return json.dumps({"kind": self.kind, "args": self.args, "files": files}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read what `to_json` returned."""
        found = json.loads(text)
        files = {
            name: content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])
            for name, content in found["files"].items()
        }
        return cls(found["kind"], tuple(found["args"]), files)


def prepare(folder: Path) -> None:
    """Write the table in each format, the experiment, and a run of it that is quickly solved."""
    import numpy as np
    import pandas as pd
    from conftest import called

    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.random(40).round(3), "b": rng.random(40).round(3), "k": rng.choice(["u", "v"], 40)})
    table["n"] = rng.integers(1, 9, 40)
    table["y"] = table["a"] + 2 * table["b"] + 0.1 * table["n"]
    table["z"] = table["a"] - table["b"] + (table["k"] == "u")
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet", index=False)
    table.to_excel(folder / "t.xlsx", index=False)
    (folder / "e.toml").write_text(EXPERIMENT)
    done = called(["run", "e.toml", "--out", "r", "--quiet"], folder, {})
    assert done.code in (0, 1), done


def draw(rng: random.Random, folder: Path) -> Case:
    """Return a case of some kind."""
    kinds: dict[str, Callable[[], Case]] = {
        "experiment": lambda: Case("experiment", ("validate", "x.toml"), {"x.toml": _toml(rng)}),
        "set": lambda: Case("set", _on(rng, *_sets(rng))),
        "options": lambda: Case("options", _on(rng, *_options(rng))),
        "constraint": lambda: Case("constraint", ("validate", "e.toml", *_formula(rng))),
        "csv": lambda: _table(rng, folder, "csv"),
        "parquet": lambda: _table(rng, folder, "parquet"),
        "xlsx": lambda: _table(rng, folder, "xlsx"),
        "targets": lambda: _targets(rng),
        "words": lambda: Case("words", tuple(rng.choice(COMMANDS) if i == 0 else _value(rng) for i in range(3))),
    }
    kind = rng.choices(list(kinds), (4, 4, 5, 4, 5, 3, 2, 3, 1))[0]
    return kinds[kind]()


COMMANDS = ("init", "validate", "predict", "solve", "runs", "plugins", "schema", "report", "propose", "learn", "refine")


def _value(rng: random.Random) -> str:
    chosen = rng.choice((NUMBERS, NUMBERS, WORDS))
    return rng.choice(chosen).replace("\x00", "")


def _on(rng: random.Random, *options: str) -> tuple[str, ...]:
    """Return a command with options: one that checks, or one that solves."""
    if rng.random() < 0.6:
        return ("validate", "e.toml", *options)
    given = () if "--target" in options else ("--target", "y=2")
    return ("solve", "r", "--solver", "dataset-search", "--quiet", *given, *options)


def _sets(rng: random.Random) -> tuple[str, ...]:
    found: list[str] = []
    for _ in range(rng.choice((1, 1, 2))):
        key = rng.choice(KEYS) + rng.choice(("", "", "", ".x", ".", ".a"))
        found += ["--set", f"{key}={_quoted(rng, _value(rng))}"]
    return tuple(found)


def _quoted(rng: random.Random, text: str) -> str:
    return rng.choice((text, text, f"'{text}'", f'"{text}"', f"[{text}]"))


def _options(rng: random.Random) -> tuple[str, ...]:
    found: list[str] = []
    for _ in range(rng.choice((1, 1, 2))):
        option = rng.choice(OPTIONS)
        name = rng.choice(("a", "b", "k", "n", "y", "z", "q", "", " a", '"a"', _value(rng)))
        value = _value(rng)
        text = {
            "target": rng.choice((value, f"<={value}", f">={value}", f"{value}..{_value(rng)}", f"2 weight {value}"))
            + rng.choice(("", f" tolerance {value}", f" ± {value}")),
            "bounds": f"{value}..{_value(rng)}" + rng.choice(("", f",{value}..{_value(rng)}")),
            "levels": f"{value},{_value(rng)}",
            "step": value + rng.choice(("", f" from {_value(rng)}")),
            "condition": rng.choice((value, f"{value},{_value(rng)}", f"mean {value}, sd {_value(rng)}", "data")),
        }.get(option, value)
        whole = (
            text if option in ("log", "margin", "seed", "designs") else f"{name}{rng.choice(('=', '=', '=', ''))}{text}"
        )
        found += [f"--{option}", whole]
    return tuple(found)


def _formula(rng: random.Random) -> tuple[str, ...]:
    text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 10))) * rng.choice((1, 1, 1, 1, 30))
    if rng.random() < 0.3:
        return ("--set", f"derive.q={json.dumps(text)}", "--target", "q=1")
    return ("--constraint", text + rng.choice(("", "<=1", ">=0.1", "=1", "<=1e308")))


def _toml(rng: random.Random) -> bytes:
    lines = EXPERIMENT.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        name, sign, _value_before = lines[at].partition(" = ")
        match rng.randrange(6):
            case 0 if sign:
                lines[at] = f"{name} = {_quoted(rng, _value(rng))}"
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 3 if sign:
                lines[at] = f"{_value(rng)} = {_quoted(rng, _value(rng))}"
            case 4:
                spot = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:spot] + _value(rng) + lines[at][spot:]
            case _:
                lines.insert(at, f"{rng.choice(KEYS)} = {_quoted(rng, _value(rng))}")
        if not lines:
            break
    return _changed(rng, "\n".join(lines).encode("utf-8", "surrogatepass"), 0.1)


def _changed(rng: random.Random, content: bytes, often: float) -> bytes:
    """Return bytes of which some are cut off, turned or put in, now and then."""
    found = bytearray(content)
    while found and rng.random() < often:
        at = rng.randrange(len(found))
        match rng.randrange(5):
            case 0:
                del found[at:]
            case 1:
                found[at] ^= 1 << rng.randrange(8)
            case 2:
                found[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
            case 3:
                del found[at : at + rng.randint(1, 40)]
            case _:
                found[at:at] = found[rng.randrange(len(found)) :][:60]
    return bytes(found)


def _cells(rng: random.Random, text: str) -> bytes:
    """Return a text file with some cells, separators or lines changed."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rows[rng.choice((0, rng.randrange(len(rows))))]
        match rng.randrange(6):
            case 0 | 1 | 2:
                row[rng.randrange(len(row))] = _value(rng)
            case 3:
                row.append(_value(rng))
            case 4 if len(row) > 1:
                row.pop()
            case _:
                column, value = rng.randrange(len(row)), _value(rng)
                for other in rows[rng.randrange(2) :]:
                    if column < len(other):
                        other[column] = value
    separator = rng.choice((",", ",", ",", ";", "\t", " ", "|"))
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    content = end.join(separator.join(row) for row in rows).encode(rng.choice(("utf-8", "utf-16")), "surrogatepass")
    return _changed(rng, content, 0.15)


def _table(rng: random.Random, folder: Path, ending: str) -> Case:
    name, content = f"w.{ending}", (folder / f"t.{ending}").read_bytes()
    content = _cells(rng, content.decode()) if ending == "csv" else _changed(rng, _rewritten(rng, content, ending), 0.7)
    command: tuple[str, ...] = rng.choice(
        (
            ("init", name, "--outputs", rng.choice(("y", "y,z", _value(rng))), "--out", "new.toml"),
            ("validate", "e.toml", "--set", f"dataset.path='{name}'"),
            ("predict", "r", name),
            ("solve", "r", "--targets", name, "--out", "new.csv", "--solver", "dataset-search"),
            ("validate", "e.toml", "--near", f"{name}:{rng.choice(('1', '2', '0', '-1', '99999999999', 'x'))}"),
        )
    )
    return Case(ending, command, {name: content})


def _rewritten(rng: random.Random, content: bytes, ending: str) -> bytes:
    """Return a parquet or Excel file in which a column holds something else, now and then."""
    if rng.random() < 0.5:
        return content
    import pandas as pd

    file = io.BytesIO(content)
    table = pd.read_parquet(file) if ending == "parquet" else pd.read_excel(file, engine="openpyxl")
    table = table.astype(object)
    try:
        values = [rng.choice((_value(rng), 1, 2.5, None, True, 2**63, b"x", float("nan")))] * len(table)
        table[rng.choice(list(table.columns))] = values if rng.random() < 0.7 else [*values[1:], _value(rng)]
        table = table.infer_objects()
        file = io.BytesIO()
        table.to_parquet(file, index=False) if ending == "parquet" else table.to_excel(file, index=False)
        return file.getvalue()
    except Exception:  # the library can't write such a column
        return content


def _targets(rng: random.Random) -> Case:
    heads = rng.sample(["y", "z", "a", "k", "q", "y2", "design.a", ""], rng.randint(1, 3))
    rows = [[rng.choice((_value(rng), "1", "0..1", "<=1", "u")) for _ in heads] for _ in range(rng.randint(0, 4))]
    text = "\n".join(",".join(row) for row in [heads, *rows])
    command = ("solve", "r", "--targets", "w.csv", "--out", "new.csv", "--solver", "dataset-search")
    return Case("targets", command, {"w.csv": _changed(rng, text.encode("utf-8", "surrogatepass"), 0.1)})


def judged(case: Case, folder: Path, limit: int = SECONDS) -> str | None:
    """Run a case, and say what is wrong with how it ended; None where nothing is."""
    from conftest import called

    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    before, began, peak = _digests(folder), time.monotonic(), _peak()
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
    signal.alarm(limit + 1)
    try:
        done = called(case.args, folder, {})
    except KeyboardInterrupt:
        return f"took more than {limit} s"
    finally:
        signal.alarm(0)
    seconds, after, grown = time.monotonic() - began, _digests(folder), _peak() - peak
    for name in after.keys() - before.keys():
        _removed(folder / name)
    for name in case.files:
        (folder / name).unlink(missing_ok=True)
    if "Traceback (most recent" in done.err or done.code == 70:
        return f"exit code {done.code}: " + " / ".join(done.err.strip().splitlines()[-4:-1])[-500:]
    if done.code not in CODES or seconds > limit:
        return f"exit code {done.code} after {seconds:.0f} s"
    if done.code > 1 and "Error: " not in done.err:
        return f"exit code {done.code} without words: {done.err[-300:]}"
    if any(after.get(name) != digest for name, digest in before.items()):
        return "a file was changed"
    if set(done.err) & {"\x1b", "\u202e", "\x9b", "\x07"}:
        return f"a sign that terminals obey was printed: {done.err[-300:]!r}"
    return f"took {grown:.0f} MB" if grown > MEGABYTES else None


def _digests(folder: Path) -> dict[str, str]:
    """Return what each file below a folder holds, but for what solves add to the run."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[:2] != ("r", "solve"):
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _removed(path: Path) -> None:
    path.unlink(missing_ok=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _serve(connection: Any, folder: str) -> None:
    """Judge the cases that come through a pipe."""
    from conftest import called

    signal.signal(signal.SIGINT, signal.default_int_handler)
    called(("solve", "r", "--target", "y=2"), Path(folder), {})  # imports take longer than any case
    connection.send(None)
    while True:
        connection.send(judged(Case.from_json(connection.recv()), Path(folder)))


class Worker:
    """A process that judges cases, and is replaced where it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Begin a process."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, str(self.folder)), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()

    def judge(self, case: Case) -> str | None:
        """Return what is wrong with a case."""
        try:
            self.connection.send(case.to_json())
            if self.connection.poll(60):
                answer: str | None = self.connection.recv()
                return answer
            wrong = "hangs"
        except (EOFError, OSError):
            wrong = "the process died"
        self.process.kill()
        self.process.join()
        wrong = f"{wrong} (exit code {self.process.exitcode})"
        self.start()
        return wrong


def main() -> None:
    """Draw cases, run them, and print what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="only cases of this kind")
    parser.add_argument("--keep", type=Path, help="a folder for the cases that fail")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    failed: list[tuple[Case, str]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        worker = Worker(folder)
        for number in range(given.cases):
            rng = random.Random(f"{given.seed} {number}")
            case = draw(rng, folder)
            while given.kind and case.kind != given.kind:
                case = draw(rng, folder)
            counts[case.kind] += 1
            wrong = worker.judge(case)
            if wrong is not None:
                failed.append((case, wrong))
                print(f"case {number} ({case.kind}): {wrong}\n  {list(case.args)!r:.300}", flush=True)
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    digest = hashlib.sha256(case.to_json().encode()).hexdigest()[:10]
                    (given.keep / f"{case.kind}-{digest}.json").write_text(case.to_json() + "\n")
        worker.process.kill()
    print(f"{sum(counts.values())} cases in {time.monotonic() - began:.0f} s: {dict(counts)}; {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

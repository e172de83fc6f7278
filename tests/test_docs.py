"""The documentation: every example runs, every table and signature is that of the code, every link leads somewhere."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT, called
from distributions import EXAMPLES, missing
from made_tables import made
from pydantic import BaseModel

from invdesign_core import errors, plugin, registry
from invdesign_core.registry import Registry
from invdesign_core.workflow.defaults import DEFAULTS
from invdesign_core.workflow.experiment import Experiment

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LANGUAGES = {"sh", "python", "toml", "text", "json", "csv"}
"""What a fenced block may be. sh and python are run, toml is used as an experiment file, the others are shown."""
COMMANDS = {
    "run": "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/invdesign run",
    "test": ".venv/bin/pip install '.[test]' && .venv/bin/pytest",
}
"""The set-up in the README, which scripts take from there by its markers."""
MARK = re.compile(r"^<!-- (?P<key>[a-z]+)(?:: (?P<value>.+?))?(?: -->|\n(?P<body>.*?)\n-->)$", re.S)
PLAIN = re.compile(r"""(?:[\w\s.,:=/…+^@%-]|'[^']*'|"[^"$`\\]*")*""")
"""A line of words, quoted where it takes quotes, which means the same to `shlex` as to a shell."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block, or a hidden `<!-- setup … -->`, with the marks before it.

    The marks are `file: NAME` (save it), `output` (of the block before), `exit: CODE` (what the command
    returns), `command: NAME` (not run here), `signature` (compared with the code, not run).
    """

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    marks: dict[str, str] = {}
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        begin = at
        if lines[at].startswith("<!--"):
            while not lines[at].endswith("-->"):
                at += 1
            mark = MARK.match("\n".join(lines[begin : at + 1]))
            assert mark, f"{page.name}, line {begin + 1}: this mark can't be read"
            if mark["body"] is not None:
                found.append(Block(page, begin + 2, "python", mark["body"], {mark["key"]: ""}))
            else:
                marks[mark["key"]] = mark["value"] or ""
        elif lines[at].startswith("```"):
            language = lines[at][3:].strip()
            at += 1
            while not lines[at].startswith("```"):
                at += 1
            found.append(Block(page, begin + 2, language, "\n".join(lines[begin + 1 : at]), marks))
            marks = {}
        elif lines[at].strip():
            marks = {}
        at += 1
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# The examples


class Reader:
    """Somebody who follows one page, in an empty folder."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.site = folder, site
        self.said = self.printed = ""
        self.names: dict[str, Any] = {"__name__": "docs"}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(site),
            "COLUMNS": "120",
        }

    def follow(self, block: Block) -> None:
        if block.language == "text" or (block.language == "json" and "output" in block.marks):
            if "output" in block.marks:
                self.compare(block)
        elif "file" in block.marks:
            path = self.folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        elif block.language == "sh" and "command" not in block.marks:
            self.shell(block)
        elif block.language == "python" and "signature" not in block.marks:
            self.python(block)

    def shell(self, block: Block) -> None:
        commands = block.text.splitlines()
        if all(command.startswith("pip install ") for command in commands):
            for command in commands:
                install(self.project(command.split()[-1]), self.site)
            return
        code = self.commands(block.text.replace("\\\n", " ").splitlines())
        if code is None:
            code = self.script(block.text)
        expected = int(block.marks.get("exit", 0))
        assert code == expected, f"{block.place}: exit code {code}, expected {expected}\n{self.said}"

    def project(self, name: str) -> Path:
        """Return a project that the reader has written, or a copy of one in the docs, to be built there."""
        folder = self.folder / name
        for example in EXAMPLES:
            if example.name == folder.name and not folder.exists():
                shutil.copytree(example, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        return folder

    def commands(self, lines: list[str]) -> int | None:
        """Run lines that are our commands and no more in this process; return the code, or None for other lines."""
        self.said = self.printed = ""
        if not all(line.startswith("invdesign ") and PLAIN.fullmatch(line) for line in lines):
            return None
        for line in lines:
            args = shlex.split(line)[1:]
            if "tensorflow" in args:
                return None  # this process runs on the other backend
            done = called(args, self.folder, {"COLUMNS": "120"})
            self.said += done.out + done.err
            self.printed += done.out
            if done.code:
                return done.code
        return 0

    def script(self, text: str) -> int:
        done = subprocess.run(
            ["sh", "-e", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        self.said = done.stdout
        return done.returncode

    def python(self, block: Block) -> None:
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(code, self.names)
        self.said = said.getvalue()

    def compare(self, block: Block) -> None:
        """Numbers depend on the machine; words don't, nor that a probability is as good as 1 or 0."""
        for line in block.text.splitlines():
            missing = [word for word in words(line) if word not in self.said]
            assert not missing, f"{block.place}: {missing} of {line!r} is not in the output\n{self.said}"
        if block.marks["output"] == "whole":  # then nothing that is printed is kept from the reader
            assert self.printed, f"{block.place}: nothing was printed by a command in this process"
            for line in self.printed.splitlines():
                missing = [word for word in words(line) if word not in block.text]
                assert not missing, f"{block.place}: {missing} of {line!r} is printed, but not shown"


def words(line: str) -> list[str]:
    return re.findall(r"(?<![\w.])[^\W\d_][\w.-]*\w|(?<![\w.])[^\W\d_](?!\w)|> 99 %|< 1 %", line)


def install(source: Path, site: Path) -> None:
    """Install a project of the docs beside the environment, without a network."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    done = subprocess.run(
        [*pip, *offline, "--target", site, source], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that Python imports from, in this process and below."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.long  # the pages train one surrogate after another
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_runs(page: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.parent in EXAMPLES and (absent := missing(page.parent)):
        pytest.skip(f"not installed: {', '.join(absent)}")
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # where Python is started, it imports from
    reader = Reader(folder, site)
    for block in blocks(page):
        reader.follow(block)
    if page.name == "results.md":
        check_run_folder(page, folder)


def check_run_folder(page: Path, folder: Path) -> None:
    """Every file of the runs on the page is in its table, and all in the table are there, but for what others write."""
    listed = {item for row in tables(page)["run folder"] for item in re.findall(r"`([^`]+)`", row[0])}
    found = {
        re.sub(r"\d+", "0", str(path.relative_to(resolved.parent)))
        for resolved in folder.rglob("resolved.json")
        for path in resolved.parent.rglob("*")
        if path.is_file()
    }
    elsewhere = ("race/", "truth/1/", "solve/1/units")
    here = {item for item in listed if not item.endswith(".pkl") and not item.startswith(elsewhere)}
    assert found == {re.sub(r"\d+", "0", item) for item in here}


# The examples' settings


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_experiment_in_the_docs_is_valid(page: Path, tmp_path: Path) -> None:
    registry = Registry.discover()
    for block in blocks(page):
        if block.language != "toml" or "project" in (values := tomllib.loads(block.text)):
            continue
        try:
            experiment = Experiment.from_mapping(values, block.place, tmp_path)
            experiment.stages(registry)
        except errors.InvdesignError as error:
            pytest.fail(f"{block.place}: {error}")


def test_the_classic_settings_are_valid() -> None:
    for path in (DOCS / "examples").glob("*.toml"):
        Experiment.from_toml(path).stages(Registry.discover())


def test_the_readme_has_the_two_commands() -> None:
    found = {block.marks["command"]: block.text for block in blocks(ROOT / "README.md") if "command" in block.marks}
    assert found == COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_of_a_known_kind(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.place}: {block.language!r}"


# Tables


def tables(page: Path) -> dict[str, list[list[str]]]:
    """Return the body rows of the tables marked `<!-- fields: NAME -->`, by that name."""
    found: dict[str, list[list[str]]] = {}
    name = None
    for line in page.read_text(encoding="utf-8").splitlines():
        mark = re.fullmatch(r"<!-- fields: (.+) -->", line)
        if mark:
            name = mark[1]
            found[name] = []
        elif name and line.startswith("|"):
            found[name].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif name and found[name]:
            name = None
    return {name: rows[2:] for name, rows in found.items()}


def names_of(item: Any) -> list[str]:
    """Return the fields of a class as a user sees them."""
    if issubclass(item, Enum):
        return [str(member.value) for member in item]
    if issubclass(item, BaseModel):
        return [name for name, info in item.model_fields.items() if not info.exclude]
    return [f.name for f in dataclasses.fields(item) if not f.name.startswith("_")]


FIELDS = [(page, name) for page in PAGES for name in tables(page) if "." in name]


@pytest.mark.parametrize(("page", "name"), FIELDS, ids=lambda value: str(getattr(value, "name", value)))
def test_tables_list_every_field(page: Path, name: str) -> None:
    module, _, item = name.rpartition(".")
    assert [row[0].strip("`") for row in tables(page)[name]] == names_of(getattr(importlib.import_module(module), item))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tables_of_options_are_what_the_code_makes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == made(text), "python tests/made_tables.py writes them anew"


def test_every_key_of_a_target_is_listed() -> None:
    from invdesign_core.targets import KEYS

    assert [row[0].strip("`") for row in tables(DOCS / "experiment-file.md")["target"]] == list(KEYS)


# Default plugins


def default_plugins() -> list[type[plugin.Plugin]]:
    return [entry.plugin for entry in Registry.discover().entries if entry.provider.distribution == "invdesign"]


def test_every_default_plugin_has_a_page_with_its_options() -> None:
    pages = {path.stem for path in (DOCS / "plugins").glob("*.md")} - {"index"}
    assert pages == {item.name for item in default_plugins()}
    index = (DOCS / "plugins" / "index.md").read_text(encoding="utf-8")
    for item in default_plugins():
        page = DOCS / "plugins" / f"{item.name}.md"
        text = page.read_text(encoding="utf-8")
        assert f"({item.name}.md)" in index
        assert item.kind in text
        assert (f"<!-- options: {item.name} -->" if item.model_fields else "It has no options") in text
        assert any(block.language in ("sh", "python") for block in blocks(page)), f"{page.name} has no example"


def test_the_defaults_are_named() -> None:
    text = (DOCS / "plugins" / "index.md").read_text(encoding="utf-8")
    for kind, name in DEFAULTS.items():
        if kind == "solver":  # `auto` is no plugin: the core chooses
            assert re.search(rf"\| {kind} \|.*`auto` takes first", text)
            continue
        assert re.search(rf"\| {kind} \|.*\[`{name}`\]\({name}\.md\).*default", text), f"{kind}: {name}"


# The contract

Signature = tuple[str, str, list[str]]


def signatures(source: str) -> dict[str, Signature]:
    """Return `Class.function` → (parameters, result, decorators) and `Class.name` → (type, value) of Python source."""
    found: dict[str, Signature] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{node.name}.")
            elif isinstance(node, ast.AnnAssign):
                value = ast.unparse(node.value) if node.value else ""
                found[prefix + ast.unparse(node.target)] = (ast.unparse(node.annotation), value, [])
            elif isinstance(node, ast.FunctionDef):
                result = ast.unparse(node.returns) if node.returns else ""
                found[prefix + node.name] = (
                    ast.unparse(node.args),
                    result,
                    [ast.unparse(d) for d in node.decorator_list],
                )

    walk(ast.parse(textwrap.dedent(source)).body, "")
    return found


def shown(name: str) -> dict[str, Signature]:
    """Return the signatures that a page shows."""
    found: dict[str, Signature] = {}
    for block in blocks(DOCS / name):
        if "signature" in block.marks:
            found |= signatures(block.text)
    return found


def of_module(module: ModuleType) -> dict[str, Signature]:
    return signatures(inspect.getsource(module))


def test_every_hook_is_shown_with_its_signature() -> None:
    specs = {name: item for name, item in of_module(registry).items() if name.startswith("invdesign_")}
    assert specs
    assert {name: item for name, item in shown("writing-plugins.md").items() if "." not in name} == specs


def test_every_method_of_the_contract_is_shown_with_its_signature() -> None:
    from invdesign_core import context, targets
    from invdesign_core.data import data
    from invdesign_core.search import problem
    from invdesign_core.space import space
    from invdesign_core.surrogate import protocols

    real: dict[str, Signature] = {}
    for module in (protocols, targets, plugin, context, data, problem, space):
        real |= of_module(module)
    contract = {
        name
        for name in of_module(plugin)
        if not name.startswith("Plugin.") and re.search(r"\.((?!kind)[a-z]\w*|__call__)$", name)
    }
    contract.add("Evaluate.__call__")
    contract |= {name for name in of_module(problem) if re.match(r"Problem\.[a-z]", name)}
    contract |= {name for name in of_module(context) if re.match(r"Context\.[a-z]", name)}
    contract -= {f"Context.{f.name}" for f in dataclasses.fields(plugin.Context)}
    contract |= {"Data.from_frame", "Goal.miss"}
    contract |= {f"Space.{name}" for name in ("width", "bounds", "sample", "encode", "decode")}
    page = {name: item for name, item in shown("writing-plugins.md").items() if "." in name}
    assert sorted(page) == sorted(contract)
    for name, (first, second, decorators) in page.items():
        is_option = "Field(" in real[name][1]  # its default stays unsaid
        assert (first, real[name][1] if is_option else second, decorators) == real[name], name


def test_everything_that_a_plugin_may_import_is_described() -> None:
    text = (DOCS / "writing-plugins.md").read_text(encoding="utf-8")
    assert [name for name in plugin.__all__ if not re.search(rf"\b{name}\b", text)] == []


# Links and words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert there.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_page_is_reachable() -> None:
    reached, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            there = (page.parent / target).resolve()
            if there in PAGES:
                queue.append(there)
    assert sorted(reached) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_of_one_machine_is_said(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(work|home|root|tmp|Users)/|/work\b|\bshared/", text)

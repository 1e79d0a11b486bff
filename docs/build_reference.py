"""Write the generated pages of the documentation, and the API reference.

    python docs/build_reference.py            docs/reference/*.md, the tables in docs/faults.md, and site/
    python docs/build_reference.py --no-site  the same without the API reference

In: the command line, the recipe models, the shipped recipes, the registries of finding codes, the table at the top
of the decoder. Out: Markdown that is committed; `tests/test_docs.py` fails where it is not up to date.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
import textwrap
import tomllib
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tumorscope
from tumorscope.auditing.checks import CHECKS
from tumorscope.cli import app
from tumorscope.core import errors
from tumorscope.core.types import EXCLUSION_REASONS
from tumorscope.evaluation.alarms import CODES as EVAL_CODES
from tumorscope.imaging import decode
from tumorscope.training import control
from tumorscope.training.recipe import Recipe, recipe_text, shipped_recipes

DOCS = Path(__file__).resolve().parent
SOURCE = Path(tumorscope.__file__).resolve().parent
MADE = "<!-- Made by docs/build_reference.py: change the source it names, then run `make docs`. -->\n\n"

OWN_WORDS = {
    "name": "name of the recipe: lower case, digits, dashes",
    "title": "one line for reports",
    "reproduces": "the published system it stands for",
    "image.size_px": "side of the square input in pixels",
    "image.fit": "`squash` stretches to the square, `pad` fills with black, `crop` cuts the longer side at the centre",
    "model.name": "one of the package's own networks or any timm model",
    "model.dropout": "before the last layer",
    "model.std": "input deviation, as mean",
    "model.options": "passed on to the network",
    "train.seed": "root of every random choice",
    "train.batch_size": "images a step",
    "train.loss": "`bce` is binary cross entropy with one output; two classes only",
    "train.class_weights": "`balanced` weighs classes by training counts; cross entropy only",
    "train.label_smoothing": "cross entropy only",
    "train.precision": "`auto` is measured before the first batch",
    "train.memory_format": "`auto` is measured before the first batch",
    "train.clip_norm": "limit of the gradient norm",
    "train.early_stop.patience": "epochs without improvement before a stage stops",
    "train.early_stop.min_delta": "smallest change that counts as improvement",
    "train.early_stop.monitor": "figure that must improve",
    "stage.NAME.epochs": "epochs of the stage",
    "stage.NAME.trainable": "`all`, `head`, or `last:N` for the head and the N blocks before it",
    "stage.NAME.optimizer": "optimizer of the stage",
    "stage.NAME.lr": "learning rate; the largest one for `one_cycle`",
    "stage.NAME.weight_decay": "weight decay",
    "stage.NAME.schedule": "how the learning rate moves",
}
"""Meaning of recipe keys whose model field has no description of its own."""


@dataclass(frozen=True, slots=True)
class Option:
    """One argument or option of a verb, as `--help` shows it."""

    names: str
    kind: str
    default: str
    help: str
    required: bool


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: its words, what it does, arguments and options."""

    words: str
    text: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines) + "\n"


def verbs() -> Iterator[Verb]:
    """Every command of the command line, subcommands after plain ones."""
    for command in app.registered_commands:
        if command.callback is not None:
            yield _verb(command.name or command.callback.__name__, command.callback)
    for group in app.registered_groups:
        inner = group.typer_instance
        for command in inner.registered_commands if inner is not None else ():
            if command.callback is not None:
                yield _verb(f"{group.name} {command.name or command.callback.__name__}", command.callback)


def _verb(words: str, callback: Callable[..., Any]) -> Verb:
    hints = typing.get_type_hints(callback, include_extras=True)
    arguments: list[Option] = []
    options: list[Option] = []
    for name, parameter in inspect.signature(callback).parameters.items():
        hint = hints[name]
        marks = [m for m in getattr(hint, "__metadata__", ()) if hasattr(m, "param_decls")]
        mark = marks[0] if marks else None
        kind = hint.__origin__ if hasattr(hint, "__metadata__") else hint
        required = parameter.default is inspect.Parameter.empty
        plain = name.rstrip("_").replace("_", "-")
        is_argument = type(mark).__name__ == "ArgumentInfo" or (mark is None and required)
        names = plain.upper() if is_argument else ", ".join(_spellings(mark) or (f"--{plain}",))
        default = (
            ""
            if required or parameter.default is None or parameter.default is False
            else f"`{_value(parameter.default)}`"
        )
        one = Option(names, _kind(kind), default, getattr(mark, "help", None) or "", required)
        (arguments if is_argument else options).append(one)
    return Verb(words, " ".join((inspect.getdoc(callback) or "").split()), tuple(arguments), tuple(options))


def _spellings(mark: Any) -> tuple[str, ...]:
    """Option names as declared; in the annotated form typer keeps the first one as the default."""
    first = getattr(mark, "default", None)
    declared = tuple(getattr(mark, "param_decls", None) or ())
    return (first, *declared) if isinstance(first, str) and first.startswith("-") else declared


def _value(value: Any) -> str:
    return str(value.value if isinstance(value, enum.Enum) else value)


def _kind(hint: Any) -> str:
    """The kind of value in words: "number", "text", "path", "a or b"; a star where it may be repeated."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_kind(a) for a in typing.get_args(hint) if a is not type(None))
    if typing.get_origin(hint) is list:
        return f"{_kind(typing.get_args(hint)[0])}, may be repeated"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(f"`{_value(member)}`" for member in hint)
    return {bool: "switch", int: "whole number", float: "number", str: "text", Path: "path"}.get(hint, str(hint))


def cli_page() -> str:
    """`reference/cli.md`: every verb with its arguments and options, and the exit codes."""
    found = list(verbs())
    parts = [MADE, "# Command line\n\n", f"{app.info.help}\n\n"]
    rows = [(f"[`{v.words}`](#{v.words.replace(' ', '-')})", v.text) for v in found]
    parts += [table(("verb", "what it does"), rows), "\n"]
    for verb in found:
        usage = " ".join(["tumorscope", verb.words, *(a.names for a in verb.arguments)])
        for name in (o.names.split(",")[0] for o in verb.options if o.required):
            usage += f" {name} {name.strip('-').upper()}"
        usage += " [OPTIONS]" if verb.options else ""
        parts.append(f"## {verb.words}\n\n{verb.text}\n\n```text\n{usage}\n```\n\n")
        lines = [
            (f"`{o.names}`", o.kind, o.default or ("required" if o.required else ""), o.help)
            for o in (*verb.arguments, *verb.options)
        ]
        parts += [table(("name", "value", "default", "meaning"), lines), "\n"] if lines else []
    parts.append("## Exit codes\n\n")
    parts.append(table(("code", "meaning"), exit_codes()))
    parts.append(
        "\n`--json` prints one JSON value on standard output. Everything but results goes to standard error.\n"
    )
    parts.append(
        "An error that you can cause is printed without a traceback; set `TUMORSCOPE_TRACEBACK=1` to see one.\n"
    )
    return "".join(parts)


def exit_codes() -> list[tuple[str, str]]:
    """Exit code and meaning: 0, 1 and those of the error classes."""
    kinds = [errors.UsageError, errors.DataError, errors.IntegrityError, errors.ResourceError]
    rows = [("0", "Fine."), ("1", "Findings, or an error of no other kind.")]
    for kind in kinds:
        text = re.sub(r"\s*Exit code \d+\.", "", inspect.getdoc(kind) or "")
        rows.append((str(kind.exit_code), text))
    return [*rows, ("130", "Stopped from the keyboard.")]


def recipe_keys() -> list[tuple[str, str, str, str]]:
    """(key, value, default, meaning) of every recipe key, tables opened up."""
    schema = Recipe.model_json_schema()
    augment = _attributes("imaging/augment.py", "AugmentSpec")
    rows: list[tuple[str, str, str, str]] = []

    def add(prefix: str, model: dict[str, Any]) -> None:
        for name, field in model["properties"].items():
            key = f"{prefix}{name}"
            inner = _inner(field, schema["$defs"])
            if inner is not None:
                add(f"{key}." if name != "stage" else "stage.NAME.", inner)
                continue
            default = "required" if name in model.get("required", ()) else _toml(field.get("default"))
            words = str(field.get("description") or "")
            if not words and prefix == "augment.":
                words = augment[name].rstrip(".")
            if not words:
                words = OWN_WORDS[key]
            rows.append((f"`{key}`", _allowed(field), default, words))

    add("", schema)
    return rows


def _inner(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The table that a field holds, None for a plain value."""
    extra = field.get("additionalProperties")
    places = [field, *field.get("anyOf", ()), *([extra] if isinstance(extra, dict) else [])]
    for place in places:
        if "$ref" in place:
            found: dict[str, Any] = definitions[place["$ref"].rsplit("/", 1)[1]]
            return found
    return None


_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "table",
}


def _allowed(field: dict[str, Any]) -> str:
    """What a field takes, from its JSON schema."""
    if "anyOf" in field:
        return " or ".join(_allowed(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{_toml(value).strip('`')}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        size = f"{field['minItems']} " if "minItems" in field else ""
        return f"list of {size}{_allowed(field['items'])}{'s' if field['items'].get('type') == 'number' else ''}"
    limits = " and ".join(f"{sign} {field[key]:g}" for key, sign in _LIMITS.items() if key in field)
    kind = _TYPES[field["type"]]
    return f"{kind} {limits}".strip()


def _toml(value: Any) -> str:
    """A default as it is written in a recipe."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{value}`"


def _attributes(file: str, name: str) -> dict[str, str]:
    """Attribute texts of a class docstring, read without importing the module."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    (node,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    text = (ast.get_docstring(node) or "").partition("Attributes:\n")[2]
    pairs = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", text, re.MULTILINE)
    return {key: " ".join(words.split()) for key, words in pairs}


def recipes_page() -> str:
    """`reference/recipes.md`: every key, and every shipped recipe as it is written."""
    parts = [
        MADE,
        "# Recipes\n\nA recipe is a TOML file that decides one training run. Unknown keys are errors. "
        "`--set KEY=VALUE` overrides one key; the value is TOML, a bare word is text. "
        "See [how to write and override a recipe](../howto/recipes.md).\n\n## Keys\n\n",
        table(("key", "value", "default", "meaning"), recipe_keys()),
        "\n`stage.NAME` stands for one table a stage, with a name of your choice; stages run in file order.\n"
        'Values `"auto"` are resolved before the first batch and written to `recipe.resolved.toml`.\n',
        "\n## Shipped recipes\n\n",
    ]
    parts += [f"### {name}\n\n```toml\n{recipe_text(name)}```\n\n" for name in shipped_recipes()]
    return "".join(parts).rstrip() + "\n"


def finding_rows() -> list[tuple[str, str, str]]:
    """(code, severity, title) of every code that a finding or a warning can have."""
    rows = [(c.code, c.severity, c.title) for c in CHECKS]
    rows.append((control.CODE, "error", control.TITLE))
    rows += [(code, "warning", f"{title[0].upper()}{title[1:]}.") for code, title in EVAL_CODES.items()]
    return sorted(rows)


def findings_page() -> str:
    """`reference/findings.md`: every code, its severity, its title, what to do; reasons of exclusions."""
    advice = tomllib.loads((DOCS / "advice.toml").read_text(encoding="utf-8"))
    rows = finding_rows()
    wrong = sorted({code for code, _, _ in rows} ^ set(advice))
    if wrong:
        raise SystemExit(f"docs/advice.toml and the codes in the package differ: {', '.join(wrong)}")
    parts = [
        MADE,
        "# Findings and warnings\n\nA code never changes its meaning. `DATA` codes are about files, pictures and "
        "boxes, `LEAK` about copies and patients, `CUT` about shortcuts, `LABEL` about labels, `CTRL` about control "
        "runs, `EVAL` about the figures of one evaluation. They stand in `audit.json`, `data.json` and "
        "`evaluation.json`, and under *What to know before believing it* in the report.\n\n## Codes\n\n",
        table(
            ("code", "severity", "what it says", "what to do"),
            [(f'<a id="{code.lower()}"></a>`{code}`', severity, title, advice[code]) for code, severity, title in rows],
        ),
        "\n## Reasons of exclusions\n\nEvery input is used, or stands in the list of exclusions with one of these "
        "reasons. Nothing is put in the place of an excluded image.\n\n",
        table(("reason", "meaning"), [(f"`{k}`", v) for k, v in EXCLUSION_REASONS.items()]),
    ]
    return "".join(parts)


def decode_table() -> str:
    """The table at the top of `tumorscope.imaging.decode`, continued rows joined."""
    lines = [line for line in (decode.__doc__ or "").splitlines() if line.startswith("|")]
    rows: list[list[str]] = []
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1][1] += f" {cells[1]}"
    return table(("what the bytes hold", "outcome"), [(r[0], re.sub(r'"([a-z-]+)"', r"`\1`", r[1])) for r in rows])


def faults_page() -> str:
    """`faults.md` with its generated table put in again; the rest of that page is written by hand."""
    text = (DOCS / "faults.md").read_text(encoding="utf-8")
    start, end = "<!-- decode table -->\n", "<!-- end -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{decode_table()}\n{end}{after}"


def pages() -> dict[Path, str]:
    """Every generated file and its content."""
    return {
        DOCS / "reference" / "cli.md": cli_page(),
        DOCS / "reference" / "recipes.md": recipes_page(),
        DOCS / "reference" / "findings.md": findings_page(),
        DOCS / "faults.md": faults_page(),
    }


def write_site(out: Path) -> None:
    """The API reference as HTML, by pdoc (extra `docs`): the functions of `tumorscope.api`, then every room."""
    import pdoc

    rooms = sorted(p.parent.name for p in SOURCE.glob("*/__init__.py"))
    pdoc.render.configure(docformat="google", footer_text=f"tumorscope {tumorscope.__version__}")
    with warnings.catch_warnings():
        # an annotation that only type checkers can read, of a private name that is not shown
        warnings.filterwarnings("ignore", message="Error parsing type annotation")
        pdoc.pdoc(*(f"tumorscope.{name}" for name in ("api", *rooms)), output_directory=out)


def main() -> None:
    """Write the pages, and the site unless `--no-site` is given."""
    unknown = [word for word in sys.argv[1:] if word != "--no-site"]
    if unknown:
        raise SystemExit(textwrap.dedent(__doc__ or ""))
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path.relative_to(DOCS.parent))
    if not sys.argv[1:]:
        write_site(DOCS.parent / "site")
        print("site/index.html")


if __name__ == "__main__":
    main()

"""What docs/design says of the code, as rules that fail.

A rule is a function from sources (a dictionary, file name to text) to a list
of complaints.  Each is tried on the project, where it must find nothing, and
on a few lines that break it, where it must find something.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from c_program import CSRC, ROOT, STRICT, compiler, python_include, run_command

TESTS = ROOT / "tests"

COLUMNS = 79
README_LINES = 120  # must be under
LONGEST = 45  # lines of a function's body
SHORT = 15  # "most are under": of these there must be ...
SHORT_SHARE = 0.6

# Which headers a file may include, itself and its own header apart.  An
# arrow that is not here is a change of the design, to be made there first.
ARROWS = {
    # both sides of the plug-in
    "transport": "",
    # the plug-in: MPI, no Python
    "patience": "",
    "watch": "",
    "frame": "transport",
    "pipe": "",
    "sleeper": "",
    "alarm": "sleeper",
    "memfile": "",
    "unmap": "",
    "flush": "",
    "segment": "memfile pipe sleeper unmap",
    "link": "wire",
    "lane": "pipe segment wire",
    "lanes": "alarm lane link wire",
    "wire": "lane lanes link transport",
    "tree": "",
    "multicast": "tree wire",
    "outbox": "frame multicast transport wire",
    "inbox": "frame outbox patience multicast transport wire",
    "mailbox": "alarm frame inbox outbox patience multicast transport wire",
    "transport_mpi": "flush link mailbox patience transport watch wire",
    # the plug-in to forked processes: neither
    "reach": "",
    "stream": "reach transport",
    "family": "patience reach stream unmap watch wire",
    "link_local": "family link",
    "transport_local": "family flush mailbox transport wire",
    # the engine: Python, no MPI
    "compat": "",
    "protocol": "",
    "schedule": "",
    "helm": "",
    "claim": "",
    "chunk": "protocol",
    "seats": "chunk",
    "forked": "",
    "sigint": "compat",
    "errors": "compat sigint transport",
    "pages": "",
    "arena": "memfile unmap",
    "loan": "arena compat",
    "parcel": "compat loan pages transport",  # for struct transport_part, a byte range
    "array": "parcel",
    "tag": "",
    "rows": "array parcel tag",
    "plain": "array parcel tag",
    "codec": "array parcel plain rows",
    "snapshot": "compat",
    "callable": "parcel protocol schedule snapshot",
    "future": "compat",
    "crew": "callable codec errors future helm protocol transport",
    "hello": "crew errors",
    "kit": "crew errors forked sigint",
    "worker": "claim crew errors hello kit ledger sigint",
    "guard": "arena crew debts errors hello journal ledger orphans sigint worker",
    "journal": "crew",
    "debts": "errors journal ledger sigint",
    "orphans": "",
    "ledger": "transport",  # for struct transport_part, a byte range
    "results": "compat",
    "initializer": "codec",
    "dispatch": "chunk claim crew initializer schedule seats",
    "retries": "compat errors",
    "call": "crew dispatch errors retries ticket",
    "job": "crew dispatch errors future results retries tasks",
    "tasks": "crew rows",
    "master": "crew dispatch errors hello job progress",
    "progress": "crew job",
    "driver": "crew dispatch errors master",
    "ticket": "crew dispatch job master progress",
    "iterator": "crew errors job master progress",
    "pool": "call codec compat crew driver errors guard hello initializer iterator job"
    " lease master status ticket worker",
    "status": "crew dispatch errors master",
    "lease": "crew dispatch master",
    "module": "compat driver errors guard pool transport",
}
# Who may see what, through other headers or not.
SEES_MPI = {"transport_mpi"}
SEES_PYTHON = {"array", "call", "callable", "codec", "compat", "crew", "dispatch"}
SEES_PYTHON |= {
    "debts",
    "driver",
    "errors",
    "future",
    "guard",
    "hello",
    "initializer",
    "iterator",
    "journal",
    "lease",
    "loan",
    "job",
    "master",
    "module",
    "status",
}
SEES_PYTHON |= {
    "parcel",
    "plain",
    "pool",
    "progress",
    "results",
    "retries",
    "rows",
    "snapshot",
    "tasks",
    "ticket",
}
SEES_PYTHON |= {"kit", "sigint", "worker"}
PYTHON_HEADERS = {"Python.h", "structmember.h"}

# Variables that may change, and why.
MUTABLE = {
    ("arena.c", "child"): "pthread_atfork's callbacks take no argument of ours",
    ("transport_mpi.c", "process"): "MPI exists once in a process, and its "
    "callbacks and Py_AtExit's take no argument of ours",
    ("transport_local.c", "process"): "what a fork inherits, and Py_AtExit's "
    "callback, take no argument of ours",
}
# Types and names that Python's API takes without const.
API_TYPES = {
    "PyBufferProcs",
    "PyGetSetDef",
    "PyMemberDef",
    "PyMethodDef",
    "PyModuleDef",
    "PyModuleDef_Slot",
    "PyTypeObject",
    "PyType_Slot",
    "PyType_Spec",
}
API_NAMES = {"names"}  # the keywords of PyArg_ParseTupleAndKeywords

EXPORTS = {"_ezmpi": "PyInit__ezmpi", "_mpi": "ezmpi_transport"}
LINKER_SYMBOLS = {"_init", "_fini", "_edata", "_end", "__bss_start"}


def read_sources():
    return {
        path.name: path.read_text()
        for path in sorted(CSRC.iterdir())
        if path.suffix in (".c", ".h")
    }


def bare(text):
    """The text without comments and string literals; lines stay lines."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''

    def blank(match):
        quote = match.group()[0]
        lines = "\n" * match.group().count("\n")
        return lines or " " if quote == "/" else quote + quote

    return re.sub(pattern, blank, text, flags=re.DOTALL)


def stem(name):
    return name.rsplit(".", 1)[0]


# ---- includes --------------------------------------------------------------


def includes(text):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, re.MULTILINE)


def reaches(name, sources, seen=None):
    """All that the file includes, itself or through the project's headers."""
    seen = set() if seen is None else seen
    for included in includes(sources.get(name, "")):
        if included not in seen:
            seen.add(included)
            reaches(included, sources, seen)
    return seen


def check_arrows(sources):
    complaints = []
    for name, text in sources.items():
        if stem(name) not in ARROWS:
            complaints.append(name + ": not in ARROWS")
            continue
        allowed = set(ARROWS[stem(name)].split()) | {stem(name)}
        for included in includes(text):
            if included.endswith(".c"):
                complaints.append(name + " includes " + included)
            elif included in sources and stem(included) not in allowed:
                complaints.append(name + " may not include " + included)
    return complaints


def check_two_worlds(sources):
    complaints = []
    for name in sources:
        reached = reaches(name, sources)
        mpi, python = "mpi.h" in reached, bool(reached & PYTHON_HEADERS)
        if mpi and python:
            complaints.append(name + " sees both MPI and Python")
        if mpi and stem(name) not in SEES_MPI:
            complaints.append(name + " sees MPI")
        if python and stem(name) not in SEES_PYTHON:
            complaints.append(name + " sees Python")
    return complaints


# ---- form ------------------------------------------------------------------


def functions(sources):
    """(file, first line, lines of the body) of every function."""
    for name, text in sources.items():
        start = None
        for number, line in enumerate(bare(text).split("\n"), 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                yield name, start, number - start - 1
                start = None


def check_function_lengths(sources):
    found = list(functions(sources))
    complaints = [
        "{}:{}: a function of {} lines".format(*function)
        for function in found
        if function[2] > LONGEST
    ]
    short = sum(function[2] < SHORT for function in found)
    if short < SHORT_SHARE * len(found):
        complaints.append(f"only {short} of {len(found)} functions under {SHORT} lines")
    return complaints


def check_braces(sources):
    """A function's brace at the end of a line would hide it from `functions`."""
    return [
        f"{name}:{number}: a function's brace belongs on a line of its own"
        for name, text in sources.items()
        for number, line in enumerate(bare(text).split("\n"), 1)
        if re.match(r"\w.*\)\s*\{", line)
    ]


def check_line_lengths(sources):
    return [
        f"{name}:{number}: {len(line.expandtabs())} columns"
        for name, text in sources.items()
        for number, line in enumerate(text.split("\n"), 1)
        if len(line.expandtabs()) > COLUMNS
    ]


def check_guards(sources):
    complaints = []
    for name, text in sources.items():
        if not name.endswith(".h"):
            continue
        guard = f"EZMPI_{stem(name).upper()}_H"
        pattern = rf"\s*#ifndef {guard}\n#define {guard}\n.*#endif\s*"
        if not re.fullmatch(pattern, bare(text), re.DOTALL):
            complaints.append(name + ": not within the guard " + guard)
    return complaints


def check_macros(sources):
    """No macro hides a return or a goto."""
    return [
        f"{name}: {line.strip()}"
        for name, text in sources.items()
        for line in bare(text).replace("\\\n", " ").split("\n")
        if re.match(r"\s*#\s*define\b.*\b(return|goto)\b", line)
    ]


# ---- variables that live as long as the process ----------------------------


def without_directives(text):
    return re.sub(r"^\s*#(?:\\\n|[^\n])*", "", bare(text), flags=re.MULTILINE)


def at_top(text):
    """The text outside all braces: {} stands for what was in them."""
    depth, kept = 0, []
    for character in text:
        if character == "}":
            depth -= 1
        if depth == 0:
            kept.append(character)
        if character == "{":
            depth += 1
    return "".join(kept)


def global_declarations(text):
    """Declarations at file scope that define a variable without static."""
    for part in re.split(r";|(?<=\))\s*\{\}", at_top(text)):
        head = part.split("=")[0].strip()
        is_type = re.match(r"(struct|enum|union)\b[^=]*\{\}$", head)
        if re.match(r"(typedef|extern|static)\b", head) or is_type or not head:
            continue
        if re.fullmatch(r"(struct|enum|union)\s+\w+", head):
            continue
        if "(" not in re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head):
            yield head


def static_declarations(text):
    """Declarations of static variables, at file scope and in functions."""
    flat = re.sub(r"\bstruct\s*(\w*)\s*\{[^{}]*\}", r"struct \1 ", text)
    for match in re.finditer(r"\bstatic\b([^;={(]*)(\(\s*\*\s*\w+|[;={(])", flat):
        if match.group(2) != "(":
            yield "static" + match.group(1) + match.group(2).strip("(;=")


def is_constant(declaration):
    """The variable itself: of a pointer, not what it points to."""
    return "const" in re.findall(r"\w+", declaration.rsplit("*", 1)[-1])


def check_mutable(sources):
    complaints = []
    for name, text in sources.items():
        code = without_directives(text)
        declared = [*global_declarations(code), *static_declarations(code)]
        for declaration in declared:
            words = re.findall(r"\w+", re.sub(r"\[[^\]]*\]", "", declaration))
            if is_constant(declaration) or API_TYPES & set(words):
                continue
            if words[-1] not in API_NAMES and (name, words[-1]) not in MUTABLE:
                complaints.append(name + ": " + " ".join(declaration.split()))
    return complaints


# ---- the rules on the project, and on what breaks them ----------------------

BREAKS = [
    (
        check_arrows,
        {"schedule.c": '#include "schedule.h"\n#include "codec.h"\n', "codec.h": ""},
    ),
    (check_arrows, {"transport.h": '#include "protocol.h"\n', "protocol.h": ""}),
    (check_arrows, {"worker.c": '#include "crew.c"\n'}),
    (check_arrows, {"novel.c": ""}),
    (check_two_worlds, {"transport_mpi.c": "#include <mpi.h>\n#include <Python.h>\n"}),
    (check_two_worlds, {"crew.c": "# include <mpi.h>\n"}),
    (
        check_two_worlds,
        {"schedule.c": '#include "compat.h"\n', "compat.h": "#include <Python.h>\n"},
    ),
    (check_function_lengths, {"a.c": "int\nf(void)\n{\n" + "    f();\n" * 46 + "}\n"}),
    (check_function_lengths, {"a.c": "int\nf(void)\n{\n" + "    f();\n" * 15 + "}\n"}),
    (check_braces, {"a.c": "int f(void) {\n}\n"}),
    (check_line_lengths, {"a.c": "\t" + "x" * 72 + "\n"}),
    (check_guards, {"crew.h": "#ifndef EZMPI_CREW_H\n#define EZMPI_CREW\n#endif\n"}),
    (check_guards, {"crew.h": "int f(void);\n"}),
    (check_macros, {"a.c": "#define TRY(x) do { if (x) \\\n    return; } while (0)\n"}),
    (check_macros, {"a.h": "#  define FAIL goto done\n"}),
    (check_mutable, {"a.c": "static int count;\n"}),
    (check_mutable, {"a.c": "static const char *name = 0;\n"}),
    (check_mutable, {"a.c": "int\nf(void)\n{\n    static int n = 0;\n}\n"}),
    (check_mutable, {"a.c": "static struct {\n    int n;\n} state = {0};\n"}),
    (check_mutable, {"a.c": "static int (*hook)(void);\n"}),
    (check_mutable, {"a.c": "struct crew *crew;\n"}),
    (
        check_mutable,
        {"a.c": "int f(void);\nint\nf(void)\n{\n}\n\nint table[3] = {1};\n"},
    ),
]
FINE = """/* static int told; */
#define STATIC static int made
struct a { int b; };
enum c { D };
struct e;
static const char *const texts[] = {"static int quoted;"};
static int f(int x);
extern int elsewhere;
const struct a table = {1};
static int
f(int x)
{
    static char *names[] = {0};
    return x;
}
static PyMethodDef methods[] = {{0}};
"""


@pytest.mark.parametrize("rule", sorted({rule for rule, _ in BREAKS}, key=str))
def test_rule_holds(rule):
    assert rule(read_sources()) == []


@pytest.mark.parametrize("rule, sources", BREAKS)
def test_rule_can_fail(rule, sources):
    assert rule(sources) != []


def test_constants_and_functions_are_no_mutable_variables():
    assert check_mutable({"a.c": FINE}) == []


def test_mutable_list_is_current():
    """Every exception is still there to be excepted."""
    sources = read_sources()
    for name, variable in MUTABLE:
        declarations = static_declarations(without_directives(sources[name]))
        assert any(variable in text.split() for text in declarations), variable


@pytest.mark.parametrize("header", sorted(path.name for path in CSRC.glob("*.h")))
def test_header_is_self_contained(header):
    include = ["-I", str(python_include()), "-fsyntax-only", "-x", "c"]
    command = compiler() + STRICT + include
    run_command([*command, str(CSRC / header)], 60)


# ---- what was built, and what lies around -----------------------------------


def built_objects():
    """(shared object, the one symbol that it exports)."""
    spec = importlib.util.find_spec("ezmpi")
    package = Path(spec.origin).parent if spec and spec.origin else ROOT / "ezmpi"
    objects = list(package.glob("_ezmpi*.so")) + list(package.glob("_mpi/*.so"))
    for path in objects:
        yield path, EXPORTS["_mpi" if path.parent.name == "_mpi" else "_ezmpi"]


def exported(path):
    output = subprocess.check_output(
        ["nm", "-D", "--defined-only", str(path)], universal_newlines=True
    )
    symbols = {line.split()[-1].split("@")[0] for line in output.splitlines()}
    return symbols - LINKER_SYMBOLS


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_each_shared_object_exports_one_symbol():
    objects = list(built_objects())
    if not objects:
        pytest.skip("the package is not built")
    for path, symbol in objects:
        assert exported(path) == {symbol}, path


def test_readme_is_short():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    assert len(readme.read_text().splitlines()) < README_LINES


def unused_programs(programs, sources):
    """Those named in no other file, be it a test or a program."""
    return [
        name
        for name in programs
        if not any(
            re.search(rf"\b{re.escape(name)}\b", text)
            for user, text in sources.items()
            if user != name
        )
    ]


def test_every_program_is_used():
    programs = list((TESTS / "programs").glob("*.py"))
    users = programs + list(TESTS.glob("*.py"))
    sources = {path.stem: path.read_text() for path in users}
    assert unused_programs([path.stem for path in programs], sources) == []


def test_an_unused_program_is_found():
    sources = {"orphan": "# orphan", "test_a": "run('used.py'); run('orphanage')"}
    assert unused_programs(["orphan", "used"], sources) == ["orphan"]


def test_the_design_shows_the_same_arrows():
    page = (ROOT / "docs" / "design.md").read_text()
    shown = re.findall(r"^(\w+) +-> ([\w ]+)$", page, re.MULTILINE)
    expected = {name: sorted(to.split()) for name, to in ARROWS.items() if to}
    assert {name: sorted(to.split()) for name, to in shown} == expected

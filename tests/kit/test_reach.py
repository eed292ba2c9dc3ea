"""What makes a number stale: 54 kinds of change that do and 10 that do not, through digest, stage key and Snakemake's
digest file; random programs whose result changes; random edits of the project's own modules."""
import ast
import json
import os
import random
import subprocess
import sys

import pytest

from paper_kit.kit import reach, workflow
from paper_kit.kit.files import PaperKitError
from paper_kit.kit.reach import (Module, Reach, code_digest, digest_and_sources, evidence_digest, normal_form,
                                 notebook_digest)
from paper_kit.kit.stages import stage_key

from helpers import ROOT

PAPER = "from paper_kit.learning.worlds import f\n\ndef work():\n    return f()\n"
GOES_ON = "def f(): return T\n"
A, B = "def g(): return 1\n", "def g(): return 2\n"
REGISTER = "R = {}\ndef register(c):\n    R[c.__name__] = c\n    return c\n"

# kind of change: (the wing's worlds, other modules, what is replaced, by what). `f` is what the paper calls.
SEEN = {"the body of a function": ("def f(): return 1\n", {}, "return 1", "return 2"),
        "an operator": ("def f(): return 3 + 2\n", {}, "+", "*"),
        "a text": ("def f(): return f'a {1}'\n", {}, "a {", "b {"),
        "a constant": ("T = 1\n" + GOES_ON, {}, "T = 1", "T = 2"),
        "a helper": ("def h(): return 1\ndef f(): return h()\n", {}, "return 1",
                     "return 2"),
        "a helper of another module": ("from ..kit.a import g\ndef f(): return g()\n", {"kit/a": A},
                                       "return 1", "return 3"),
        "a binding that the next one uses": ("T = [2.0]\nT = [t / 3 for t in T]\n" + GOES_ON, {}, "2.0",
                                             "9.0"),
        "an item stored later": ("T = {}\nT['a'] = 1\n" + GOES_ON, {}, "= 1", "= 2"),
        "an update": ("T = {}\nT.update(a=1)\n" + GOES_ON, {}, "a=1", "a=2"),
        "an augmented assignment": ("T = [1]\nT += [2]\n" + GOES_ON, {}, "[2]", "[3]"),
        "an append": ("T = []\nT.append(1)\n" + GOES_ON, {}, "(1)", "(2)"),
        "a deleted item": ("T = {'a': 1, 'b': 2}\ndel T['a']\n" + GOES_ON, {}, "del T['a']",
                           "del T['b']"),
        "an attribute of a class": ("class C: n = 0\nC.n = 1\ndef f(): return C().n\n", {}, "C.n = 1",
                                    "C.n = 2"),
        "an attribute set by name": ("class C: n = 0\nsetattr(C, 'n', 1)\ndef f(): return C().n\n", {}, ", 1)",
                                     ", 2)"),
        "an attribute of a function": ("def f(): return f.n\nf.n = 1\n", {}, "f.n = 1",
                                       "f.n = 2"),
        "a change through another name": ("T = {}\nalias = T\nalias['a'] = 1\n" + GOES_ON, {}, "= 1",
                                          "= 2"),
        "a loop that fills a table": ("T = {}\nfor i in range(2): T[i] = i\n" + GOES_ON, {}, "range(2)",
                                      "range(3)"),
        "a branch": ("T = 0\nif len('ab') == 2: T = 1\n" + GOES_ON, {}, "T = 1", "T = 2"),
        "the other import of a try": (
        "try: from ..kit.c import g\nexcept ImportError: g = lambda: 1\ndef f(): return g()\n", {}, ": 1",
        ": 2"), "a with block": ("import contextlib\nwith contextlib.suppress(KeyError): T = 1\n" + GOES_ON, {},
                                 "T = 1", "T = 2"),
        "a decorator that registers": (REGISTER + "@register\ndef a(): return 1\ndef f(): return R['a']()\n",
                                       {}, "return 1", "return 2"),
        "a class that a decorator registers": (REGISTER + "@register\nclass A: n = 1\ndef f(): return R['A'].n\n",
                                               {}, "n = 1", "n = 2"),
        "a subclass that its base registers": (
                                               "class B:\n    all = []\n    def __init_subclass__(cls): "
                                               "B.all.append(cls)\nclass A(B): n = 1\n"
                                               "def f(): return B.all[0].n\n", {}, "n = 1",
                                               "n = 2"),
        "a subclass asked for": ("class B: pass\nclass A(B): n = 1\ndef f(): return B.__subclasses__()[0].n\n",
                                 {}, "n = 1", "n = 2"),
        "a metaclass": (
        "class M(type):\n    def __call__(cls): return 1\nclass A(metaclass=M): pass\ndef f(): return A()\n",
        {}, "return 1", "return 2"),
        "an import inside a function": ("def f():\n    from paper_kit.kit.a import g\n    return g()\n",
                                        {"kit/a": A}, "return 1",
                                        "return 3"),
        "a module imported inside, by another name": ("def f():\n    import paper_kit.kit.a as h\n    return h.g()\n",
                                                      {"kit/a": A}, "return 1",
                                                      "return 3"),
        "which module is imported inside": ("def f():\n    import paper_kit.kit.a as h\n    return h.g()\n",
                                            {"kit/a": A, "kit/b": B}, "kit.a as", "kit.b as"),
        "a dotted import": ("import paper_kit.kit.a\ndef f(): return paper_kit.kit.a.g()\n", {"kit/a": A},
                            "return 1", "return 3"),
        "a module's attribute": ("from ..kit import a\ndef f(): return a.g()\n", {"kit/a": A}, "return 1",
                                 "return 3"),
        "a star": ("from ..kit.a import *\ndef f(): return g()\n", {"kit/a": A}, "return 1",
                   "return 3"),
        "a star of a star": ("from ..kit.b import *\ndef f(): return g()\n",
                             {"kit/b": "from .a import *\n", "kit/a": A}, "return 1", "return 3"),
        "what a star brings": ("from ..kit.a import *\nfrom ..kit.b import *\ndef f(): return g()\n",
                               {"kit/a": A, "kit/b": "__all__ = ['g']\n" + B}, "['g']",
                               "[]"),
        "which module a name comes from": ("from ..kit.a import g\ndef f(): return g()\n",
                                           {"kit/a": A, "kit/b": B}, "kit.a", "kit.b"),
        "which library a name means": ("import math as m\ndef f(): return m.sqrt(4)\n", {}, "math as",
                                       "cmath as"),
        "a function whose name a comprehension uses too": (
        "def g(): return 1\nX = [g for g in range(2)]\ndef f(): return "
        "g()\n", {}, "return 1", "return 2"),
        "an asset": (
                     "from pathlib import Path\nimport paper_kit\ndef f(): return "
                     "(Path(paper_kit.__file__).parent/'assets'/'w.bin').read_bytes()\n", {"assets/w.bin": "1"},
                     "1", "2"),
        "an asset of any name": (
                                 "import paper_kit\ndef f(k='w'): return open(paper_kit.__path__[0] + "
                                 "f'/assets/{k}.bin').read()\n", {"assets/w.bin": "1"}, "1", "2"),
        "a patched method": (
        "from ..kit.files import patch\nclass C: pass\n@patch\ndef go(self: C): return 1\ndef f(): "
        "return C().go()\n", {}, "return 1", "return 2"),
        "a method patched onto an imported class": (
        "from ..kit.files import patch\nfrom ..kit.a import C\n@patch\ndef "
        "go(self: C): return 1\ndef f(): return C().go()\n", {"kit/a": "class C: pass\n"}, "return 1",
        "return 2"),
        "a method patched somewhere else": (
        "from ..kit.a import C\nimport paper_kit.kit.b\ndef f(): return C().go()\n",
        {"kit/a": "class C: pass\n", "kit/b": "from .files import patch\nfrom .a "
         "import C\n@patch\ndef go(self: C): " "return 1\n"}, "return 1", "return 2"),
        "a ClassVar": (
                       "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass\nclass C:\n    n: "
                       "ClassVar[int] = 1\n    m: int = 2\ndef f(): return C(3)\n", {}, "ClassVar[int]",
                       "int"),
        "a field's default": (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    n: int = 1\ndef f(): return "
        "C()\n", {}, "= 1", "= 2"),
        "an option of a known decorator": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    n: "
        "int = 1\ndef f(): return hash(C())\n", {}, "frozen=True", "unsafe_hash=True"),
        "a docstring used as data": ("def h():\n    'one'\ndef f(): return h.__doc__\n", {}, "'one'",
                                     "'two'"),
        "a global set by a function that runs at import": ("T = 0\ndef go():\n    global T\n    T = 1\ngo()\n"
                                                           + GOES_ON, {}, "T = 1", "T = 2"),
        "a default value": ("K = 1\ndef f(x=K): return x\n", {}, "K = 1", "K = 2"),
        "a base class": ("class B:\n    def n(self): return 1\nclass C(B): pass\ndef f(): return C().n()\n",
                         {}, "return 1", "return 2"),
        "code that runs through exec": ("X = 1\ndef f():\n    exec('global y; y = X')\n    return y\n", {},
                                        "X = 1", "X = 2"),
        "a module passed around": ("from ..kit import a\ndef f(): return getattr(a, 'g')()\n", {"kit/a": A},
                                   "return 1", "return 3"),
        "an import for its effect": ("from ..kit.a import T\nfrom ..kit import b\ndef f(): return T\n",
                                     {"kit/a": "T = {}\n", "kit/b": "from .a import T\nT['x'] = 1\n"}, "= 1",
                                     "= 2"),
        "a setting of a library": ("import numpy as np\nnp.seterr(all='raise')\ndef f(): return np.float64(1) / 0\n",
                                   {}, "'raise'", "'warn'"),
        "the order of two statements": ("T = {}\nT['a'] = 1\nT['b'] = 2\ndef f(): return list(T)\n",
                                        {}, "T['a'] = 1\nT['b'] = 2",
                                        "T['b'] = 2\nT['a'] = 1"),
        "names unpacked together": ("(T, U), *V = (1, 2), 3\n" + GOES_ON, {}, "(1, 2)", "(7, 2)"),}
IGNORED = {
    "a comment": ("def f(): return 1\n", {}, "return 1", "return 1  # one"),
    "a function's docstring": ("def f():\n    'one'\n    return 1\n", {}, "'one'", "'two'"),
    "a class's docstring": ("class C:\n    'one'\n    n = 1\ndef f(): return C.n\n", {}, "'one'", "'two'"),
    "a module's docstring": ("'one'\ndef f(): return 1\n", {}, "'one'", "'two'"),
    "line breaks": ("def f(): return [1, 2]\n", {}, "[1, 2]", "[\n        1,\n        2,\n    ]"),
    "brackets and quotes": ("def f(): return 2 * 3, 'a'\n", {}, "2 * 3, 'a'", '((2*3), "a")'),
    "annotations": ("def f(x=1): return x\n", {}, "(x=1)", "(x: int = 1) -> int"),
    "a function that nothing uses": ("def f(): return 1\ndef unused(): return 2\n", {}, "return 2", "return 3"),
    "a constant that nothing uses": ("T = [1]\nU = [2]\n" + GOES_ON, {}, "U = [2]", "U = [3]"),
    "the order of two functions": ("def h(): return 1\n\ndef f(): return h()\n", {},
                                   "def h(): return 1\n\ndef f(): return h()\n",
                                   "def f(): return h()\n\ndef h(): return 1\n"),
}


def written(tmp_path, monkeypatch, worlds, others):
    "A project of one paper whose wing has these worlds; its root."
    root = tmp_path/"project"
    files = {"learning/worlds.py": worlds, "learning/x.py": PAPER, "kit/files.py": "def patch(f): return f\n",
             "__init__.py": ""}
    files |= {name if "." in name else f"{name}.py": text for name, text in others.items()}
    for name, text in files.items():
        (root/"paper_kit"/name).parent.mkdir(parents=True, exist_ok=True)
        (root/"paper_kit"/name).write_text(text)
    cells = ["#| export\n" + PAPER, "work()"]
    (root/"nbs/learning").mkdir(parents=True)
    (root/"nbs/learning/x.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": c}
                                                                   for c in cells]}))
    monkeypatch.setattr(reach, "_package_folder", lambda: root/"paper_kit")
    return root


def work(): ...


work.__module__, work.__qualname__ = "paper_kit.learning.x", "work"


def ways(root):
    "Digest of the notebook, key of a stage, content of the file that Snakemake looks at."
    workflow.write_digests(root, [("x", "smoke")])
    return (notebook_digest(root/"nbs/learning/x.ipynb"), stage_key(work, {}, "paper_kit.learning.x"),
            (root/"runs/smoke/.digests/x").read_text())


def edited(root, old, new):
    hits = [f for f in (root/"paper_kit").rglob("*.*") if f.name not in ("x.py", "files.py") and old in f.read_text()]
    file = hits[0]
    assert file.read_text().count(old) == 1 or old == "+", (file, old)
    stat = file.stat()
    file.write_text(file.read_text().replace(old, new, 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))              # an editor or a clone may set any time


def test_the_table_is_whole():
    assert (len(SEEN), len(IGNORED)) == (54, 10)


@pytest.mark.parametrize("kind", SEEN)
def test_a_change_that_matters_is_seen(kind, tmp_path, monkeypatch):
    worlds, others, old, new = SEEN[kind]
    root = written(tmp_path, monkeypatch, worlds, others)
    before = ways(root)
    assert ways(root) == before
    edited(root, old, new)
    assert [a == b for a, b in zip(before, ways(root))] == [False] * 3


@pytest.mark.parametrize("kind", IGNORED)
def test_a_change_that_does_not_matter_is_not_seen(kind, tmp_path, monkeypatch):
    worlds, others, old, new = IGNORED[kind]
    root = written(tmp_path, monkeypatch, worlds, others)
    before = ways(root)
    edited(root, old, new)
    assert ways(root) == before


def test_the_machinery_may_change(tmp_path, monkeypatch):
    root = written(tmp_path, monkeypatch, "from ..kit.files import patch\ndef f(): return patch\n", {})
    before = ways(root)
    (root/"paper_kit/kit/files.py").write_text("def patch(f): return None\n")
    assert ways(root) == before


# random programs: whenever the result of `f()` changes, so does the digest
# -------------------------------------------------------------------

TEMPLATES = [
    "{a} = {{'k': {n}}}", "{a} = [{n}, {m}]", "{a} = dict({b}) if isinstance({b}, dict) else list({b})", "{a} = {b}",
             "put({a}, {n})", "{a} = put({b}, {n})",
    "for i in range({m}): put({a}, i * {n})", "keep({n})", "C.n += {n}", "C.many.append({n})",
             "@keep\ndef d{i}(): return {n}", "class D{i}(C): n = {n}",
    "{a} = [put({b}, {n})][0]", "if len({a}) > {m}: put({b}, {n})", "S = {n}", "def h(): return S + {n}",
             "{a} = [h() for h in [lambda: {n}]]",
    "({a}, {b}) = ({b}, {a})", "with C(): put({a}, {n})", "try: {a}.no\nexcept AttributeError: put({a}, {n})",
             "alias = {a}", "put(alias, {n})",
    "h.k = {n}", "setattr(C, 'n', {n})", "{a} = made({b}, {n})", "touch({n})", "del {a}, {b}; {a} = [{n}]; {b} = [{m}]",
             "(w := {n}); put({a}, w)"]
HEAD = '''KEPT, S = [], 1
def put(where, value):
    where.append(value) if isinstance(where, list) else where.update({str(value): value})
    return where
def keep(x):
    KEPT.append(x if isinstance(x, int) else x())
    return x
class C:
    n, many = 0, []
    def __enter__(self): C.n += 1
    def __exit__(self, *a): pass
def h(): return S
h.k = 0
def made(x, n): return [n, x]
def touch(n):
    global S
    S = S + n
alias = []
T, U, V = [1], [2], [3]
'''


def program(rng):
    lines = []
    for i in range(rng.randrange(6, 16)):
        a, b = rng.sample(["T", "U", "V"], 2)
        lines.append(rng.choice(TEMPLATES).format(a=a, b=b, n=rng.randrange(10, 99), m=rng.randrange(1, 5), i=i))
    used = rng.choice(["T", "U, V", "KEPT", "C.n, C.many", "h(), h.k", "S", "alias"])
    return HEAD + "\n".join(lines) + f"\ndef f(): return repr(({used}))\n"


def outcome(text):
    scope = {"__name__": "m"}
    try:
        exec(text, scope)
        return scope["f"]()
    except Exception as error:
        return type(error).__name__


def mutated(text, rng):
    "The text with one number changed, one statement lost, or two statements swapped."
    tree = ast.parse(text)
    choice = rng.random()
    if choice < 0.7:
        numbers = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is int]
        rng.choice(numbers).value += 1
    else:
        i = rng.randrange(len(tree.body) - 1)
        if choice < 0.85:
            del tree.body[i]
        else:
            tree.body[i], tree.body[i + 1] = tree.body[i + 1], tree.body[i]
    return ast.unparse(tree)


def digest_of(text, name="f"):
    followed = Reach(Module("paper_kit.learning.m", text))
    followed.name("paper_kit.learning.m", name)
    return followed


def test_whenever_a_result_changes_so_does_the_digest():
    "Behaviour is the oracle: the programs are run before and after the edit."
    rng, changed, fresh, same = random.Random(7), 0, 0, 0
    for _ in range(int(os.environ.get("PAPER_KIT_PROGRAMS", 600))):
        text = program(rng)
        if outcome(text).endswith("Error"):
            continue
        other = mutated(text, rng)
        if outcome(other).endswith("Error"):
            continue                                                 # a module that cannot be imported measures nothing
        differs = outcome(text) != outcome(other)
        if digest_of(text).digest() == digest_of(other).digest():
            assert not differs, f"a change went unseen:\n{text}\n--- now ---\n{other}"
            fresh += 1
        changed, same = changed + differs, same + (not differs)
    assert changed > 25 and fresh > 50, (changed, fresh, same)           # it sees changes, and not one in everything


# the project's own modules
# -----------------------------------------------------------------------------------------------------------------

PAPERS = [p for p in sorted((ROOT/"nbs").glob("*/*.ipynb")) if p.parent.name != "kit" and p.stem != "worlds"]


def altered(node, rng):
    """The statement with one constant, operator or name changed, or with a statement more; None where there is nothing
    to change."""
    for n in ast.walk(node):
        if isinstance(n, ast.arg): n.annotation = None
        elif isinstance(n, ast.FunctionDef): n.returns = None
        elif isinstance(n, ast.AnnAssign): n.annotation = ast.Name("x", ast.Load())
    parts = [n for n in ast.walk(node)
             if isinstance(n, (ast.Constant, ast.BinOp, ast.Compare, ast.Return, ast.FunctionDef))]
    rng.shuffle(parts)
    for n in parts:
        if isinstance(n, ast.Constant) and type(n.value) in (int, float): n.value = n.value + 1
        elif isinstance(n, ast.BinOp): n.op = ast.Sub() if isinstance(n.op, ast.Add) else ast.Add()
        elif isinstance(n, ast.Compare): n.ops[0] = ast.Is() if not isinstance(n.ops[0], ast.Is) else ast.IsNot()
        elif isinstance(n, ast.Return): n.value = ast.Tuple([n.value or ast.Constant(None)], ast.Load())
        elif isinstance(n, ast.FunctionDef): n.body.append(ast.Pass())
        else: continue
        return ast.unparse(node)
    return None


def names_used(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {n.attr for n in ast.walk(tree)
                                                                        if isinstance(n, ast.Attribute)}


def test_any_edit_of_a_statement_that_papers_use_changes_their_digests(tmp_path, monkeypatch):
    "What a paper uses is found here in another way: names that a notebook imports from a module and uses."
    import shutil
    rng = random.Random(3)
    shutil.copytree(ROOT/"paper_kit", tmp_path/"paper_kit", ignore=shutil.ignore_patterns("__pycache__"))
    users = {}
    for path in PAPERS:
        cells = [ast.parse(reach._magic_free(c)) for c in reach.notebook_cells(json.loads(path.read_text()))]
        used = set().union(*map(names_used, cells))
        for n in (n for c in cells for n in ast.walk(c) if isinstance(n, ast.ImportFrom)
                  and (n.module or "").startswith("paper_kit.")):
            if n.module.endswith(f".{path.stem}"):
                continue                                                # its own module is the notebook itself
            for alias in n.names:
                if (alias.asname or alias.name) in used and n.module not in reach.harness_modules:
                    users.setdefault((n.module, alias.name), set()).add(path)
    monkeypatch.setattr(reach, "_package_folder", lambda: tmp_path/"paper_kit")
    before, tried = {}, 0
    for (module, name), papers in sorted(rng.sample(sorted(users.items()), 40)):
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        if not file.is_file():
            continue
        text = file.read_text()
        tree = ast.parse(text)
        statement = next((s for s in tree.body if getattr(s, "name", None) == name or
                          isinstance(s, ast.Assign) and getattr(s.targets[0], "id", None) == name), None)
        if statement is None or altered(statement, rng) is None:
            continue
        path = sorted(papers)[0]
        before.setdefault(path, notebook_digest(path))
        file.write_text(ast.unparse(tree))
        assert notebook_digest(path) != before[path], (module, name, path.stem)
        file.write_text(text)
        tried += 1
    assert tried >= 15


# what the reader of code sees
# --------------------------------------------------------------------------------------------------------------

def used(followed):
    return {n for _, n in followed.names}


def test_normal_form_sees_code_and_nothing_else():
    same = ["def f(x): return 2*x", "def f(x: int) -> int:\n    'doc'\n    # c\n    return (2 * x)",
            "def f(x):\n\n    return 2*x"]
    assert len({normal_form(s) for s in same}) == 1
    for other in ("def f(x): return x*2", "def g(x): return 2*x", "def f(x=1): return 2*x",
                  "def f(x): return 2*x; pass"):
        assert normal_form(other) != normal_form(same[0])
    assert (normal_form("class A:\n    x: int = 1") == normal_form("class A:\n    x: float = 1")
            != normal_form("class A:\n    x: int = 2"))


def test_a_patched_method_keeps_its_class():
    assert normal_form("@patch\ndef f(self: A): pass") != normal_form("@patch\ndef f(self: B): pass")


def test_reach_follows_free_names_and_not_local_ones():
    text = "a = 1\nb = 2\ndef g(): return a\ndef f(b): return g() + b\ndef unused(): return 0"
    assert used(digest_of(text)) == {"f", "g", "a"}
    assert (digest_of(text).digest()
            == digest_of(text.replace("b = 2", "b = 3").replace("return 0", "return 1")).digest())
    assert digest_of(text).digest() != digest_of(text.replace("a = 1", "a = 5")).digest()


def test_reach_follows_classes_with_patched_methods_and_defaults():
    text = "k = 1\nclass A:\n    n = k\n@patch\ndef go(self: A): return h()\ndef h(): return 3\ndef f(x=A): return x"
    assert used(digest_of(text)) == {"f", "A", "h", "k"}
    assert digest_of(text).digest() != digest_of(text.replace("return 3", "return 4")).digest()


def test_reach_crosses_modules_and_leaves_the_machinery_out():
    followed = digest_of("from paper_kit.kit.claims import below\nfrom ..kit.files import write_atomic\ndef f(): "
                         "return below, write_atomic")
    modules = {m for m, _ in followed.names}
    assert "paper_kit.kit.claims" in modules and "paper_kit.kit.files" not in modules
    names = {n for m, n in followed.names if m == "paper_kit.kit.claims"}
    assert {"below", "Condition", "student"} <= names and "page_p" not in names
    inner = digest_of("def f():\n    from paper_kit.kit.claims import wilson\n    return wilson")
    assert ("paper_kit.kit.claims", "wilson") in inner.names
    attribute = digest_of("import paper_kit.kit.claims as c\ndef f(): return c.wilson(1, 2)")
    assert ("paper_kit.kit.claims", "wilson") in attribute.names


def test_a_name_that_a_notebook_imports_from_itself_ends_the_search():
    followed = digest_of("from paper_kit.learning.m import below\ndef g(): return 1\ndef f(): return below, g()")
    assert used(followed) == {"f", "g"}


def cells(tmp_path, *sources, folder="learning"):
    path = tmp_path/folder/"x.ipynb"
    path.parent.mkdir(exist_ok=True)
    body = [{"cell_type": "code", "metadata": {"tags": ["parameters"]} if "profile =" in s else {}, "source": s}
            for s in sources]
    path.write_text(json.dumps({"cells": body + [{"cell_type": "markdown", "metadata": {}, "source": "prose"}]}))
    return path


def test_a_notebooks_digest_is_about_code_only(tmp_path):
    base = notebook_digest(cells(tmp_path, 'profile = "smoke"', "def f(x): return x", "f(1)"))
    assert base == notebook_digest(cells(tmp_path, 'profile = "cpu"', "# note\ndef f(x: int):\n    'd'\n    return x",
                                         "f(1)  # one"))
    assert base == notebook_digest(cells(tmp_path, 'profile = "cpu"', "def f(x): return x",
                                         "#| default_exp a.b", "f(1)"))
    assert base != notebook_digest(cells(tmp_path, 'profile = "smoke"', "def f(x): return x", "f(2)"))
    assert base != notebook_digest(cells(tmp_path, 'profile = "smoke"', "f(1)", "def f(x): return x"))
    assert notebook_digest(cells(tmp_path, "%matplotlib inline\nx = 1")) != notebook_digest(cells(tmp_path, "x = 1"))


def test_evidence_is_a_notebook_without_its_figures(tmp_path):
    def of(draw="return pen(x)", pen="return x", table="return {'a': both(x)}", both="return x + 1", caption="one",
           more="", setting="k = 1"):
        return evidence_digest(cells(
            tmp_path, 'profile = "smoke"',
            f"#| export\ndef pen(x): {pen}\ndef both(x): {both}\ndef figure_1(x): {draw}",
            f"#| export\ndef table_1(x): {table}", f"{setting}\nx = 1\npaper.table('Table 1', table_1(x))",
            "from paper_kit.learning.x import figure_1\n"
            f"paper.figure('Figure 1', figure_1(x), caption='{caption}')\n{more}", "paper.finish()"))
    base = of()
    for same in ({"draw": "return pen(x) + 1"}, {"pen": "return 2*x"}, {"caption": "another"},
                 {"draw": "return both(x)"}, {"more": "paper.figure('Figure 2', pen(x))"}):
        assert of(**same) == base, same
    for other in ({"table": "return {'b': both(x)}"}, {"both": "return x + 2"},
                  {"more": "paper.claim('C1', pen(x))"}, {"table": "return {'a': both(pen(x))}"},
                  {"setting": "k = 2"}, {"more": "table_1 = figure_1"},
                  {"more": "%magic"}, {"more": "not python"}):
        assert of(**other) != base, other
    both = dict(table="return {'a': pen(both(x))}")
    assert of(**both) != of(**both, pen="return 2*x"), "what a table and a figure use belongs to the table"


def test_the_sources_of_a_digest_name_every_module_that_was_looked_at(tmp_path, monkeypatch):
    package = tmp_path/"paper_kit"
    for name, text in {"learning/one": "from paper_kit.learning.two import g\ndef f(x): return g(x)",
                       "learning/two": "from .three import *\ndef g(x): return h(x)",
                       "learning/three": "def h(x): return x", "learning/four": "def k(x): return x"}.items():
        (package/name).parent.mkdir(parents=True, exist_ok=True)
        (package/f"{name}.py").write_text(text)
    monkeypatch.setattr(reach, "_package_folder", lambda: package)
    path = cells(tmp_path, "from paper_kit.learning.one import f\nfrom paper_kit.learning.five import missing",
                 "f(1), missing(2)")
    digest, sources = digest_and_sources(path)
    modules = sources["modules"]
    assert ({"one", "two", "three", "five"} <= {name.rsplit(".", 1)[1] for name in modules if "." in name}
            and modules["paper_kit.learning.five"] is None)
    assert "paper_kit.learning.four" not in modules and all(reach.module_hash(name) == found for name,
                                                            found in modules.items())
    (package/"learning/three.py").write_text("def h(x): return x + 1")
    assert (notebook_digest(path) != digest and reach.module_hash("paper_kit.learning.three")
            != modules["paper_kit.learning.three"])
    (package/"learning/three.py").unlink()
    assert reach.module_hash("paper_kit.learning.three") is None
    (package/"learning/three.py").write_text("def h(x: return")
    with pytest.raises(PaperKitError, match="three.py"):
        notebook_digest(path)


def test_a_notebook_that_is_no_notebook(tmp_path):
    (tmp_path/"x.ipynb").write_text("{")
    with pytest.raises(PaperKitError, match="x.ipynb"):
        notebook_digest(tmp_path/"x.ipynb")


def test_the_key_does_not_depend_on_the_version_of_python(root):
    import shutil
    other = shutil.which("python3.12") or shutil.which("python3.13")
    if not other:
        pytest.skip("no second version of Python here")
    script = (f"import ast, sys\nsource = open({str(root/'paper_kit/kit/reach.py')!r}).read()\n"
              "tree = ast.parse(source)\nkeep = [n for n in tree.body if getattr(n, 'name', '') in ('_strip', "
              "'_without_docstring', '_plain_decorator', '_patched_class', '_dump', 'normal_form') or "
              "getattr(getattr(n, 'targets', [0])[0], 'id', '') in ('_known_decorators', '_left_out')]\n"
              "scope = {'ast': ast}\nexec('from __future__ import annotations\\n' + '\\n'.join(ast.unparse(n) for n in "
              "keep), scope)\n"
              "import hashlib\nprint(hashlib.sha256(scope['normal_form'](source).encode()).hexdigest())")
    done = [subprocess.run([p, "-c", script], capture_output=True, text=True) for p in (sys.executable, other)]
    if done[1].returncode != 0 and "not found" in done[1].stderr + done[1].stdout:
        pytest.skip("the second version of Python does not start")
    assert done[0].stdout == done[1].stdout != "", done[1].stderr


# in a kernel ----------------------------------------------------------------------------------------------------------
# ---------------------

@pytest.fixture
def kernel(monkeypatch):
    "Cells that have run, as IPython keeps them."
    import __main__
    cells = []
    monkeypatch.setattr(__main__, "In", cells, raising=False)
    return cells


def test_a_stage_has_the_same_key_in_the_notebook_and_on_another_machine(tmp_path, monkeypatch, kernel):
    root = written(tmp_path, monkeypatch, "T = {}\nT['a'] = 1\n" + GOES_ON, {})
    there = stage_key(work, {}, "paper_kit.learning.x")
    kernel += ["", "#| export\n" + PAPER, "shown = work()\nprint(shown)", "for i in range(3): print(i)"]
    here = lambda: (lambda: 0) and stage_key(main_work, {}, "paper_kit.learning.x", root/"nbs/learning/x.ipynb")

    def main_work(): ...
    main_work.__module__, main_work.__qualname__, main_work.__name__ = "__main__", "work", "work"
    assert here() == there
    kernel.append("#| export\ndef later(): return 1")                    # not in the file, and nothing uses it
    assert here() == there
    kernel.append("#| export\nfrom paper_kit.learning.worlds import f\n\ndef work():\n    return f(), 1\n")
    changed = here()
    assert changed != there
    kernel.append("#| export\n" + PAPER)                                 # as it was: the draft between is forgotten
    assert here() == there
    kernel.append("from paper_kit.learning import worlds\nworlds.T['a'] = 7")
    assert here() != there


def test_what_an_unexported_cell_does_to_an_exported_table_counts(tmp_path, monkeypatch, kernel):
    root = written(tmp_path, monkeypatch, "def f(): return 1\n", {})
    text = "#| export\nT = {'a': 1}\ndef work(): return T\n"
    (root/"nbs/learning/x.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {},
                                                                    "source": text}]}))
    key = lambda: code_digest(main_work, "paper_kit.learning.x", root/"nbs/learning/x.ipynb")

    def main_work(): ...
    main_work.__module__, main_work.__qualname__ = "__main__", "work"
    kernel.append(text)
    seen = [key()]
    for cell in ("print(T)", "T['a'] = 2", "T.update(b=3)", "T = {'a': 5}"):
        kernel.append(cell)
        seen.append(key())
    assert seen[0] == seen[1] and len(set(seen)) == 4

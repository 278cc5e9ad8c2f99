"""Where a one-line fault can be planted in a module: every operator, constant, argument, statement of its functions.

Not sites: what stands outside of functions, docstrings and other texts, messages (`raise`, `print`, `warn`),
decorators, annotations, defaults, and everything that only draws: functions with a parameter `ax` and calls on axes
and figures.
"""

import ast
from random import Random
from typing import NamedTuple

COMPARISONS = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
               ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
               ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is")}
ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.Div: ("/", "*"),
              ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.Pow: ("**", "*"), ast.LShift: ("<<", ">>"),
              ast.RShift: (">>", "<<"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"), ast.BitXor: ("^", "&")}
TWINS = {"min": "max", "minimum": "maximum", "argmin": "argmax", "any": "all", "floor": "ceil"}
TWINS |= {b: a for a, b in TWINS.items()}
QUIET = {"print", "warn", "warnings", "ax", "axes", "fig", "figure", "plt", "sns"}  # first names of calls that only
AXES = {"axis", "dim", "axes"}  # tell or draw; names of arguments that are axes
TEXTS = (ast.JoinedStr, ast.List, ast.Tuple)  # `+` and `*` of these are no arithmetic


class Site(NamedTuple):
    """One possible fault: some bytes of a line and what replaces them."""

    line: int  # from 1
    function: str  # qualified name
    operator: str  # kind of the fault
    start: int  # first byte of the line that is replaced
    end: int  # the byte behind the last one
    new: str  # what stands there instead


def root_name(call: ast.expr) -> str:
    """First name of a dotted call: `ax` of `ax.set(...).x()`."""
    while isinstance(call, ast.Attribute | ast.Call | ast.Subscript):
        call = call.func if isinstance(call, ast.Call) else call.value
    return call.id if isinstance(call, ast.Name) else ""


class Finder(ast.NodeVisitor):
    """Collects the sites of a module."""

    def __init__(self, text: str):
        self.lines, self.names, self.depth, self.found = [s.encode() for s in text.split("\n")], [], 0, []
        self.returns: list[str] = []
        self.visit(ast.parse(text))

    def add(self, operator: str, line: int, start: int, end: int, new: str) -> None:
        """Keep a site if it lies in a function."""
        if self.depth: self.found.append(Site(line, ".".join(self.names), operator, start, end, new))

    def text(self, node: ast.expr) -> str:
        """Source of the first line of a node."""
        return self.lines[node.lineno - 1][node.col_offset:node.end_col_offset].decode()

    def between(self, operator: str, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """A site for the symbol between two operands on one line."""
        if left.end_lineno != right.lineno: return
        start = self.lines[right.lineno - 1].find(old.encode(), left.end_col_offset, right.col_offset)
        if start >= 0: self.add(operator, right.lineno, start, start + len(old), new)

    def whole(self, operator: str, node: ast.expr | ast.stmt, new: str) -> None:
        """A site that replaces a node of one line."""
        if node.lineno == node.end_lineno: self.add(operator, node.lineno, node.col_offset, node.end_col_offset, new)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if "ax" in [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]: return
        self.names.append(node.name)
        self.returns.append(ast.unparse(node.returns) if node.returns else "")
        self.depth += 1
        for statement in node.body: self.visit(statement)
        self.depth -= 1
        self.names.pop(), self.returns.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.append(node.name)
        for statement in node.body: self.visit(statement)
        self.names.pop()

    def visit_Raise(self, node: ast.Raise) -> None: """A message."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: """A text."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value: self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, kind, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self.between("comparison", left, right, *COMPARISONS[type(kind)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = any(isinstance(x, TEXTS) or isinstance(getattr(x, "value", 0), str) for x in (node.left, node.right))
        if type(node.op) in ARITHMETIC and not text:
            self.between("arithmetic", node.left, node.right, *ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for i in range(len(node.values) - 1): self.between("and/or", *node.values[i:i + 2], old, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            new = "bool" if self.text(node)[3:4] == "(" else ""
            self.add("not", node.lineno, node.col_offset, node.col_offset + 3, new)
        elif isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            self.add("sign", node.lineno, node.col_offset, node.col_offset + 1, "+")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool): self.whole("True/False", node, str(not node.value))
        elif isinstance(node.value, int | float): self.whole("constant", node, repr(node.value + 1))

    def visit_keyword(self, node: ast.keyword) -> None:
        number = node.value.operand if isinstance(node.value, ast.UnaryOp) else node.value
        if node.arg in AXES and isinstance(number, ast.Constant) and isinstance(number.value, int):
            self.whole("axis", node.value, "1" if self.text(node.value) == "0" else "0")
        else: self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if root_name(node) in QUIET: return
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in TWINS:
            end = node.func.end_col_offset
            self.add("min/max", node.func.end_lineno, end - len(name), end, TWINS[name])
        for a, b in () if name in TWINS else zip(node.args, node.args[1:], strict=False):
            if a.lineno == b.end_lineno and not any(isinstance(x, ast.Starred) for x in (a, b)):
                middle = self.lines[a.lineno - 1][a.end_col_offset:b.col_offset].decode()
                self.add("arguments", a.lineno, a.col_offset, b.end_col_offset, self.text(b) + middle + self.text(a))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        call = isinstance(node.value, ast.Call) and root_name(node.value) not in QUIET
        if call: self.whole("statement", node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign | ast.AugAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(targets[0], ast.Attribute | ast.Subscript): self.whole("statement", node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in ARITHMETIC:
            old, new = ARITHMETIC[type(node.op)]
            self.between("arithmetic", node.target, node.value, old + "=", new + "=")
        self.visit_Assign(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None: return
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            new = {"bool": "not ({})", "int": "({}) + 1", "float": "({}) + 1"}.get(self.returns[-1], "None")
            self.whole("return", node.value, new.format(self.text(node.value)))
        self.generic_visit(node)


def changed(text: str, site: Site) -> str:
    """The text with the fault."""
    lines = text.split("\n")
    line = lines[site.line - 1].encode()
    lines[site.line - 1] = (line[:site.start] + site.new.encode() + line[site.end:]).decode()
    return "\n".join(lines)


def is_fault(text: str, site: Site) -> bool:
    """Whether the changed text is still Python, and another program."""
    try: return ast.dump(ast.parse(changed(text, site))) != ast.dump(ast.parse(text))
    except SyntaxError: return False


def draw(text: str, random: Random) -> list[Site]:
    """A possible fault for each line that can have one, by line: first its kind is drawn, then the place."""
    by_line: dict[int, dict[str, list[Site]]] = {}
    for site in Finder(text).found: by_line.setdefault(site.line, {}).setdefault(site.operator, []).append(site)
    return [random.choice(kinds[random.choice(sorted(kinds))]) for _, kinds in sorted(by_line.items())]

"""The layout of this project's code: the table of docs/architecture.md for one checkout.

    python benchmarks/layout.py [DIRECTORY]

For another commit, first `git worktree add DIRECTORY COMMIT`. Configs are left out.
"""

import ast
import pathlib
import sys

MOST = 7  # parameters, without `self`


def measure(root: pathlib.Path) -> dict[str, str]:
    """{what: figure} of `root`/distill_jax."""
    package = root / "distill_jax"
    files = sorted(p for p in package.rglob("*.py") if "configs" not in p.relative_to(root).parts)
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    longest = max(files, key=lambda path: lines[path])
    top = {path.relative_to(package).parts[0] for path in files} - {"__init__.py"}
    return {
        "files at the top level": str(len(list(package.glob("*.py")))),
        "packages and modules at the top level": str(len(top)),
        "functions with more than seven parameters": str(
            sum(_parameters(function) > MOST for function in functions)
        ),
        "longest file, lines": f"{lines[longest]} ({longest.relative_to(package)})",
        "files": f"{len(files):,}",
        "lines": f"{sum(lines.values()):,}",
        "lines of imports": f"{sum(node.end_lineno - node.lineno + 1 for node in imports):,}",
    }


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    listed = function.args
    every = [*listed.posonlyargs, *listed.args, *listed.kwonlyargs]
    return len(every) - any(argument.arg in ("self", "cls") for argument in every[:1])


if __name__ == "__main__":
    for what, figure in measure(pathlib.Path(sys.argv[1] if sys.argv[1:] else ".")).items():
        print(f"{what}: {figure}")

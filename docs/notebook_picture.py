"""The picture of the notebook in README: runs it and takes a picture of some cells.

Usage: python docs/notebook_picture.py --workdir runs/demo

Needs `pip install -e '.[notebook]' playwright` and a Chromium (Debian: apt-get install chromium).
"""

import argparse
import os
import pathlib

import nbclient
import nbconvert
import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "evaluate.ipynb"
CELLS = ["question", "ask", "steps", "errors"]


def executed_page(workdir: str) -> str:
    """The notebook after it ran on `workdir`, as HTML."""
    os.environ["DISTILL_JAX_WORKDIR"] = str(pathlib.Path(workdir).resolve())
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": NOTEBOOK.parent}}
    nbclient.NotebookClient(notebook, resources=resources).execute()
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    return page


def take_picture(page: str, cells: list[str], browser: str, output: pathlib.Path) -> None:
    """Of these cells (ids of the notebook) below each other, in 128 colours."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        window = chromium.new_page(viewport={"width": 920, "height": 600})
        window.route("http**", lambda route: route.abort())  # MathJax: nothing here needs it
        window.set_content(page, wait_until="load")
        kept = ",".join(f'[id="cell-id={cell}"]' for cell in cells)
        window.add_style_tag(content=f".jp-Cell:not({kept}) {{ display: none; }}")
        window.locator("main").screenshot(path=output)
        chromium.close()
    Image.open(output).convert("RGB").quantize(128).save(output, optimize=True)


def main() -> None:
    """Arguments, then the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workdir", default="runs/demo", help="a finished run")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "notebook.png")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--cells", nargs="+", default=CELLS, help="ids")
    arguments = parser.parse_args()
    page = executed_page(arguments.workdir)
    take_picture(page, arguments.cells, arguments.browser, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()

"""Run notebooks from top to bottom in a folder that is thrown away; an error in a cell is an error here.

python examples/execute.py NOTEBOOK… [--inplace]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--inplace", action="store_true", help="keep the outputs")
    options = parser.parse_args()
    for path in options.notebooks:
        notebook, begin = nbformat.read(path, 4), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
        if options.inplace:
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()

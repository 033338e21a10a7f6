"""Runs a notebook and puts into it what its cells print."""

import copy

from script.documents.compare import cleaned, with_clocks_of
from script.documents.page import ROOT
from script.documents.regenerate import Fault


def execute(notebook, folder, environment, timeout):
    """Run all cells in one kernel.

    Args:
        notebook: a `nbformat.NotebookNode`; it gets the outputs.
        folder: the working folder.
        environment: variables of the kernel.
        timeout: seconds for a cell.
    Raises:
        nbclient.exceptions.CellExecutionError: the first cell that fails.
    """
    from nbclient import NotebookClient

    client = NotebookClient(notebook, timeout=timeout, resources={'metadata': {'path': str(folder)}})
    client.execute(env=environment)


def regenerate_notebook(path, scratch, timeout=3600):
    """The notebook with what its cells print today on standard output, and whether that differs in more than clocks.

    Args:
        path: of the notebook, in the repository.
        scratch: a `Scratch`.
        timeout: seconds for a cell.
    Returns:
        (`nbformat.NotebookNode`, whether it differs from the file, list of `Fault`).
    """
    import nbformat
    from nbclient.exceptions import CellExecutionError

    old = nbformat.read(path, as_version=4)
    new = copy.deepcopy(old)
    environment = {**scratch.environment(), 'PYTHONPATH': str(scratch.folder)}
    try:
        execute(new, scratch.folder / path.parent.relative_to(ROOT), environment, timeout)
    except CellExecutionError as error:
        return old, False, [Fault(0, cleaned(str(error), scratch.folder))]
    cells = [pair for pair in zip(old.cells, new.cells, strict=True) if pair[0].cell_type == 'code']
    for number, (before, cell) in enumerate(cells, 1):
        text = with_clocks_of(_printed(before), cleaned(_printed(cell), scratch.folder))
        cell.outputs = [nbformat.v4.new_output('stream', name='stdout', text=text)] if text else []
        cell.execution_count = number
        cell.metadata = before.metadata
    new.metadata = old.metadata
    return new, new != old, []


def _printed(cell):
    """What a cell has printed on standard output."""
    return ''.join(output.text for output in cell.outputs if output.get('name') == 'stdout')

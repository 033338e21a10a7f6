"""Input and result in one object: what stood in the row comes first, by its own names, then what the model says."""

from ernie.reader.columns import free_name

ERROR = 'error'


def joined(row, result, codec):
    """The columns of a row and its result.

    A column of the input whose name a result of the task has is called `input_NAME`, so that neither is lost. What the
    result only repeats of the input (`Codec.echo`) is left out.

    Args:
        row: `Row`.
        result: dict.
        codec: `Codec`.
    Returns:
        dict name -> value, the columns of the input in its order and then those of the result in theirs.
    """
    # What is made of a list of tokens does not stand in the row.
    echo = () if any(isinstance(cell, list) for cell in row.cells.values()) else codec.echo
    own = {name: value for name, value in result.items() if name not in echo}
    taken = {ERROR, *own, *(name for name in codec.fields if name not in echo)}
    return {free_name(name, taken, row.cells): value for name, value in row.cells.items()} | own

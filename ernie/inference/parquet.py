"""Results as a Parquet file (package pyarrow)."""

from ernie.inference.carried import ERROR
from ernie.inference.engines import optional_package
from ernie.inference.results import Writer, check_names, value_of
from propeller.errors import bad_input, one_line

_ROWS = 5000  # of a row group: so many are in memory


class Parquet(Writer):
    """A row a result. Columns of the input have the types of the first rows; `probabilities` is a map, `entities` and
    `n_best` are lists of objects.
    """

    binary = True

    def begin(self):
        self._arrow = optional_package('pyarrow', '--format parquet')
        self._parquet = optional_package('pyarrow.parquet', '--format parquet')
        self._values, self._lines, self._schema, self._writer = [], [], None, None

    def write(self, row, result):
        self._values.append(value_of(row, result, self.layout))
        self._lines.append(row)
        if len(self._values) == _ROWS:
            self._flush()

    def finish(self):
        if self._values or self._writer is None:
            self._flush()
        self._writer.close()

    def _flush(self):
        values, rows, self._values, self._lines = self._values, self._lines, [], []
        if self._schema is None:
            self._schema = self._schema_of(values)
            self._writer = self._parquet.ParquetWriter(self.file, self._schema)
        for row, value in zip(rows, values, strict=True):
            check_names(row, value, self._schema.names)
        self._writer.write_table(self._table(values, self._schema))

    def _schema_of(self, values):
        """Types of all columns: of results as the task says, of others as the first rows show."""
        arrow, fields = self._arrow, self.layout.codec.fields
        names = list(dict.fromkeys(name for value in values for name in value if name != ERROR))
        known = {name: self._type(fields[name]) for name in names if name in fields}
        found = self._table([{n: v for n, v in value.items() if n not in known and n != ERROR} for value in values])
        for name, column in zip(found.column_names, found.columns, strict=True):
            known[name] = column.type if column.type != arrow.null() else arrow.string()
        if self.layout.skips:
            known[ERROR] = arrow.string()
            names.append(ERROR)
        return arrow.schema([(name, known[name]) for name in names])

    def _type(self, field):
        """The type of a field of `Codec.fields`."""
        arrow = self._arrow
        if isinstance(field, list):
            return arrow.list_(self._type(field[0]))
        if isinstance(field, dict) and str in field:
            return arrow.map_(arrow.string(), self._type(field[str]))
        if isinstance(field, dict):
            return arrow.struct([(name, self._type(part)) for name, part in field.items()])
        return {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}[field]

    def _table(self, values, schema=None):
        try:
            if schema is None:
                names = list(dict.fromkeys(name for value in values for name in value))
                return self._arrow.table({name: [value.get(name) for value in values] for name in names})
            return self._arrow.Table.from_pylist([self._maps(value) for value in values], schema=schema)
        except (self._arrow.ArrowException, TypeError, ValueError, OverflowError) as e:
            found = f'values of several types in one column ({one_line(e, 120)})'
            advice = 'Give --format jsonl, or --carry false.'
            raise bad_input('the input', found, 'one type in each column', advice=advice) from None

    def _maps(self, value):
        """The value with the objects that become maps as pairs."""
        return {n: list(v.items()) if isinstance(v, dict) and self._is_map(n) else v for n, v in value.items()}

    def _is_map(self, name):
        return self._arrow.types.is_map(self._schema.field(name).type)

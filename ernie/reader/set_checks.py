"""Whether the arrays of a tokenized file fit each other and the model, before C++ code indexes with them."""

import numpy as np

from ernie.tokenizers.token_cut import TokenCut

_TYPES = {
    'ids': ['int32'],
    'offsets': ['int64'],
    'split': ['int32'],
    'labels': ['int64', 'float32'],
    'token_labels': ['int32'],
    'qids': ['int64'],
    'lines': ['int64'],
    'cut': ['int32'],
    'cut_labels': ['int32'],
    'keys': ['int64'],
}
_NEEDED = ('ids', 'offsets', 'split', 'lines')


def arrays_fault(arrays, bounds):
    """What is wrong with the arrays of a `TokenizedSet`, in words; None if nothing is.

    Args:
        arrays: dict name -> array.
        bounds: dict with `length`, most tokens of a row; `columns`, classes of several labels; `about`, names that
            must be noted of the file; and for names of arrays (lowest value, one more than the highest). What is absent
            is not compared.
    """
    for name in _NEEDED:
        if name not in arrays:
            return f'no {name}'
    for name, array in arrays.items():
        dims = (1, 2) if name == 'labels' and array.dtype == np.float32 else (1,)
        if array.dtype.name not in _TYPES.get(name, ()) or array.ndim not in dims:
            return f'{name} is {array.dtype} of {array.ndim} dimensions'
    return _shape_fault(arrays, bounds) or _value_fault(arrays, bounds)


def about_fault(about, needed=()):
    """What is wrong with the `about` of a `TokenizedSet`, in words; None if nothing is. needed: names in it."""
    if not isinstance(about, dict):
        return 'about is no object'
    for name in needed:
        if name not in about:
            return f'no {name}'
    columns = about.get('columns', [])
    if not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
        return 'columns are no names'
    names = about.get('column_names', {})
    if not (isinstance(names, dict) and all(isinstance(name, str) for name in names.values())):
        return 'column_names are no names'
    if 'token_cut' in about:
        try:
            TokenCut.from_json(about['token_cut'])
        except ValueError as e:
            return str(e)
    return None if isinstance(about.get('token_cut_remark', ''), str) else 'token_cut_remark is no text'


def _shape_fault(arrays, bounds):
    offsets = arrays['offsets']
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(arrays['ids']):
        return 'offsets are not those of the ids'
    lengths = np.diff(offsets)
    # Differences of huge numbers may wrap around; those of numbers between 0 and the last one cannot.
    if offsets.min() < 0 or offsets.max() > len(arrays['ids']) or lengths.min(initial=0) < 0:
        return 'offsets are out of order'
    if lengths.max(initial=0) > bounds.get('length', lengths.max(initial=0)):
        return f'a row has {lengths.max()} tokens, at most {bounds["length"]} are asked for'
    cut = arrays.get('cut', np.zeros(0, np.int32))
    if cut.min(initial=0) < 0:
        return 'cut is below 0'
    expected = {'ids': len(arrays['ids']), 'token_labels': len(arrays['ids']), 'offsets': len(offsets)}
    expected |= {'cut_labels': int(cut.sum(dtype=np.int64))}
    for name, array in arrays.items():
        if len(array) != expected.get(name, len(lengths)):
            return f'{name} has {len(array)} entries for {len(lengths)} rows'
    split = arrays['split']
    if len(split) and (split.min() < 0 or (split > lengths).any()):
        return 'split is outside of the rows'
    return None


def _value_fault(arrays, bounds):
    for name, array in arrays.items():
        if name in bounds and array.size and array.dtype != np.float32:
            low, high = bounds[name]
            if array.min() < low or array.max() >= high:
                return f'{name} from {array.min()} to {array.max()}, expected {low} to {high - 1}'
    labels = arrays.get('labels')
    if labels is not None and labels.dtype == np.float32:
        if not np.isfinite(labels).all():
            return 'labels that are not finite'
        if labels.ndim == 2 and labels.shape[1] != bounds.get('columns', labels.shape[1]):
            return f'labels of {labels.shape[1]} classes, expected {bounds["columns"]}'
    return None

"""Data sets as `datasets` of Hugging Face writes them: Parquet with its description, folders of Arrow files."""

import json

import pytest

pyarrow = pytest.importorskip('pyarrow')
pytest.importorskip('pyarrow.parquet')
pytest.importorskip('pyarrow.ipc')


def class_label(*names):
    return {'names': list(names), '_type': 'ClassLabel'}


def list_of(feature, old=False):
    """A list in the description, as of datasets 4 or before."""
    return {'feature': feature, **({'length': -1, '_type': 'Sequence'} if old else {'_type': 'List'})}


VALUE = {'dtype': 'string', '_type': 'Value'}


def described(columns, features):
    """A table whose metadata describe its columns."""
    info = json.dumps({'info': {'features': features}})
    return pyarrow.table(columns).replace_schema_metadata({b'huggingface': info} if features else None)


def write_parquet(path, columns, features=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(described(columns, features), path, **options)
    return path


def save_to_disk(folder, columns, features=None, shards=1, split=None, batch=1000, in_schema=True):
    """What `Dataset.save_to_disk` leaves."""
    folder.mkdir(parents=True)
    table = described(columns, features if in_schema else None)
    names = [f'data-{i:05d}-of-{shards:05d}.arrow' for i in range(shards)]
    size = -(-table.num_rows // shards)
    for i, name in enumerate(names):
        with pyarrow.OSFile(str(folder / name), 'wb') as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(i * size, size), batch)
    state = {'_data_files': [{'filename': name} for name in names], '_fingerprint': 'f', '_format_columns': None}
    state |= {'_format_kwargs': {}, '_format_type': None, '_output_all_columns': False, '_split': split}
    (folder / 'state.json').write_text(json.dumps(state))
    info = {'citation': '', 'description': '', 'features': features or {}, 'homepage': '', 'license': ''}
    (folder / 'dataset_info.json').write_text(json.dumps(info))
    return folder


def save_splits(folder, **splits):
    """What `DatasetDict.save_to_disk` leaves. splits: name -> arguments of `save_to_disk`."""
    for name, arguments in splits.items():
        save_to_disk(folder / name, *arguments, split=name)
    (folder / 'dataset_dict.json').write_text(json.dumps({'splits': list(splits)}))
    return folder

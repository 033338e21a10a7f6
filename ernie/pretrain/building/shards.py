"""The output folder: shards that are whole or not there, and a manifest that tells which are done.

manifest.json            settings, and for each finished shard its files and counts
train-00000.gz ...       sample files
valid-00000.gz ...       sample files of held-out documents
train_filelist, valid_filelist
report.json, report.txt
"""

import contextlib
import fcntl
import json
import os
import re

from ernie.tokenizers import TOKENIZER_CONFIG
from propeller.errors import UserError, bad_input
from propeller.inputs import MAX_DATA_BYTES, read_json_object
from propeller.storage.atomic import output_file, refuse_inputs
from propeller.storage.folders import is_partial

MANIFEST, LOCK = 'manifest.json', '.lock'
_OURS = re.compile(r'(train|valid)(-\d+\.gz|_filelist)|report\.(json|txt)')


def samples_in(folder):
    """Names of the files of a folder that a builder has made: shards, lists, report and manifest. None without one."""
    if not os.path.isfile(os.path.join(folder, MANIFEST)):
        return []
    try:
        manifest = read_json_object(os.path.join(folder, MANIFEST))
    except UserError:
        return []
    if not {'settings', 'shards'} <= manifest.keys():
        return []
    return [name for name in os.listdir(folder) if name in (MANIFEST, TOKENIZER_CONFIG) or _OURS.fullmatch(name)]


def refuse_own_names(folder, read):
    """Refuse a folder in which a file that is read has a name that the builder writes to, or a link to it.

    Args:
        folder: path; need not exist.
        read: paths of files.
    Raises:
        UserError: names the file.
    """
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if _OURS.fullmatch(name) or name in (MANIFEST, TOKENIZER_CONFIG):
            refuse_inputs(os.path.join(folder, name), '--output', read)


class ShardFolder:
    """A folder that one builder at a time writes into.

    Args:
        path: the folder; made if it is not there.
        settings: JSON-able dict; everything that the content of the shards depends on.
        overwrite: whether shards that other settings made may be deleted, and files that bear the names of ours.

    Attributes:
        done: dict number -> {'files': {split: name}, 'counts': {split: {...}}, 'first': [...]}; the first
            samples are those of one shard only.

    Raises:
        UserError: the folder cannot be made or used, another builder is at work in it, or its files were made with
            other settings or by somebody else.
    """

    def __init__(self, path, settings, overwrite=False):
        self.path = os.path.abspath(path)
        self.settings = settings
        try:
            os.makedirs(self.path, exist_ok=True)
            if not overwrite:
                self._refuse_foreign()
            self._lock = open(self.join(LOCK), 'a', encoding='utf-8')  # noqa: SIM115 (held to the end)
        except OSError as e:
            raise UserError(f'{path}: cannot be used as a folder for samples ({e.strerror or e}).') from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(f'{path}: another builder is at work in this folder.') from None
        try:
            self.done = self._read(overwrite)
            self._forget_unfinished()
        except BaseException:
            self.close()
            raise

    def _refuse_foreign(self):
        """What no builder made may bear a name that ours would replace."""
        names = os.listdir(self.path)
        foreign = sorted(filter(_OURS.fullmatch, names))
        if foreign and LOCK not in names and MANIFEST not in names:
            advice = 'Name another --output, or give --overwrite true to replace it.'
            raise bad_input(self.join(foreign[0]), 'a file that no builder made', 'a folder of samples', advice=advice)

    def close(self):
        """Lets other builders in."""
        self._lock.close()

    def join(self, name):
        """Path of a file in the folder."""
        return os.path.join(self.path, name)

    def _read(self, overwrite):
        path, expected = self.join(MANIFEST), 'the manifest of a builder'
        if not os.path.lexists(path):
            return {}
        manifest = read_json_object(path, expected, MAX_DATA_BYTES)
        found, shards = manifest.get('settings'), manifest.get('shards')
        if not isinstance(found, dict) or not isinstance(shards, dict) or not all(map(_is_shard, shards.items())):
            raise bad_input(path, 'something else', expected)
        if found == self.settings:
            return {int(number): shard for number, shard in shards.items() if self._is_there(shard)}
        if not overwrite:
            names = sorted(k for k in {*found, *self.settings} if found.get(k) != self.settings.get(k))
            advice = 'Name another --output, or give --overwrite true to make its shards anew.'
            found = f'shards made with other settings ({", ".join(names)})'
            raise bad_input(self.path, found, 'the same settings', advice=advice)
        for shard in shards.values():
            for name in shard['files'].values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.join(os.path.basename(name)))
        return {}

    def _is_there(self, shard):
        return all(os.path.isfile(self.join(name)) for name in shard['files'].values())

    def _forget_unfinished(self):
        for name in os.listdir(self.path):
            if is_partial(name):
                os.unlink(self.join(name))

    def write_shards(self, results):
        """Writes the shards as their blocks come; a shard is in the manifest when its files are whole.

        Args:
            results: iterable of `BlockResult`, shard by shard.

        Yields:
            the number of each finished shard.

        Raises:
            UserError: a file cannot be written (disk full, no permission).
        """
        results = iter(results)
        result = next(results, None)
        while result is not None:
            number = result.shard
            shard = {'files': {}, 'counts': {}, 'first': []}
            with contextlib.ExitStack() as files:
                handles = {}
                while result is not None and result.shard == number:
                    self._take(result, shard, files, handles)
                    result = next(results, None)
            self.done[number] = shard
            self.write_json(MANIFEST, {'settings': self.settings, 'shards': self.done})
            yield number

    def _take(self, result, shard, files, handles):
        counts = shard['counts'].setdefault(result.split, {})
        for key, value in result.counts.items():
            counts[key] = counts.get(key, 0) + value
        if result.split == 'train' and not any(other['first'] for other in self.done.values()):
            shard['first'] = shard['first'] or result.first
        if not result.data:
            return
        if result.split not in handles:
            name = f'{result.split}-{result.shard:05d}.gz'
            handles[result.split] = files.enter_context(output_file(self.join(name), binary=True))
            shard['files'][result.split] = name
        handles[result.split].write(result.data)

    def write_json(self, name, value):
        """A JSON file of the folder."""
        self.write_text(name, json.dumps(value, ensure_ascii=False, indent=1) + '\n')

    def write_text(self, name, text):
        """A text file of the folder, whole or not at all."""
        with output_file(self.join(name)) as f:
            f.write(text)

    def write_file_lists(self, probability):
        """`train_filelist` and `valid_filelist`: `path<TAB>probability` of each shard, paths beside the list.

        Returns:
            dict split -> path of the list, for the splits that have samples.
        """
        lists = {}
        for split in ('train', 'valid'):
            names = [shard['files'][split] for _, shard in sorted(self.done.items()) if split in shard['files']]
            if not names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.join(f'{split}_filelist'))
            else:
                self.write_text(f'{split}_filelist', ''.join(f'{name}\t{probability}\n' for name in names))
                lists[split] = self.join(f'{split}_filelist')
        return lists


_PLAIN_NAME = re.compile(r'[\w-][\w.-]{0,200}')


def _is_shard(item):
    """Whether an entry of the manifest is number -> {'files': {split: file name}, ...}."""
    number, shard = item
    files = shard.get('files') if isinstance(shard, dict) else None
    if not number.isascii() or not number.isdecimal() or len(number) > 18 or not isinstance(files, dict):
        return False
    return all(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in files.values())

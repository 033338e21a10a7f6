"""A folder that predictions can be made from: a checkpoint, or an exported model. Nothing but its path is needed."""

import json
import os
from types import SimpleNamespace

from ernie.checkpoint import check_labels, open_model
from ernie.checkpoint.labels_json import TASKS, read_saved_labels
from ernie.checkpoint.model_folder import ERNIE_CONFIG, LABELS, VOCABULARY
from ernie.checkpoint.sizes import check_sizes
from ernie.checkpoint.strict import HEADS
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.decoding.classes import count_labels, label_names
from ernie.reader.classify import load_label_map
from ernie.run.source import build_tokenizer
from ernie.tasks.table import inference_task
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.inputs import read_json_object

INFERENCE = 'inference.json'
# What a folder of 2019, without labels.json, is taken to be.
DEFAULTS = {'max_seq_len': 128, 'for_cn': True, 'task_id': 0}


class ModelFolder:
    """Everything that prediction and export need of a model.

    Args:
        path: a checkpoint folder of any format that `ernie.checkpoint.open_model` knows, or an exported folder.
        task: name of `ernie.checkpoint.labels_json.TASKS` that the folder must be of; None takes what it says.
        ernie_config_path, vocab_path, label_map_config: files instead of those in the folder.
        num_labels, max_seq_len, do_lower_case, tokenizer, for_cn: values instead of those in its `labels.json`.

    Attributes:
        path, config (`ErnieConfig`), vocab_path, settings (dict), task (`InferenceTask`).
        exported: content of `inference.json`; None for a checkpoint.
        tensors: the parameters by name; None for an exported folder.

    Raises:
        UserError: something is missing, broken, or of another task.
        UsageError: the flags contradict the folder.
    """

    def __init__(self, path, task=None, *, ernie_config_path=None, vocab_path=None, label_map_config=None, **given):
        self.path = os.fspath(path)
        if not os.path.exists(self.path):
            raise bad_input(self.path, 'no such folder', 'a checkpoint or an exported model')
        self.exported = _read_exported(self.path)
        self.tensors = None if self.exported else open_model(self.path)
        self.config = self._config(ernie_config_path)
        if self.tensors is not None:
            check_sizes(self.config, self.tensors)
        self.vocab_path = vocab_path or self._beside(VOCABULARY, self.tensors and self.tensors.vocab_path)
        if self.vocab_path is None:
            raise UsageError(f'--vocab_path is missing, and no {VOCABULARY} lies beside the parameters.')
        given = {name: value for name, value in given.items() if value is not None}
        self.settings = self._settings(task, label_map_config, given)
        self.folder_tokenizer = folder_tokenizer(self.tensors.folder if self.tensors else self.path)
        tokenizer = self._tokenizer(given)
        self.task = self._task(tokenizer)

    def _tokenizer(self, given):
        """The tokenizer as the folder says, or the flags; `settings` says which it became."""
        args = SimpleNamespace(**self.settings | {name: given.get(name) for name in ('tokenizer', 'do_lower_case')})
        tokenizer = build_tokenizer(args, self)
        self.settings |= {'tokenizer': args.tokenizer, 'do_lower_case': args.do_lower_case}
        return tokenizer

    def _beside(self, name, found):
        path = os.path.join(self.path, name)
        return path if os.path.isfile(path) else found

    def _config(self, given):
        if self.exported:
            if given:
                raise UsageError('--ernie_config_path: an exported model has the configuration that it was made with.')
            return ErnieConfig(os.path.join(self.path, ERNIE_CONFIG))
        config = given or self.tensors.config
        if config is None:
            raise UsageError(f'--ernie_config_path is missing, and no {ERNIE_CONFIG} lies beside the parameters.')
        return ErnieConfig(config)

    def _settings(self, task, label_map_config, given):
        saved = read_saved_labels(self.path)
        if self.tensors is not None:
            check_labels(saved, self.tensors, os.path.join(self.path, LABELS))
        name, kind = TASKS[task] if task else (saved.get('task', 'classification'), None)
        if saved.get('task', name) != name or (kind and saved.get('kind', kind) != kind):
            found = saved['task'] + (f' ({saved["kind"]})' if 'kind' in saved else '')
            raise UserError(f'{self.path}: found a checkpoint of the task {found}, expected {task} (--task).')
        longest = min(DEFAULTS['max_seq_len'], self.config.max_position_embeddings)
        settings = DEFAULTS | {'max_seq_len': longest} | saved | given | {'task': name}
        if settings['max_seq_len'] < 3:
            raise UsageError(f'--max_seq_len {settings["max_seq_len"]}: expected at least 3.')
        if name == 'classification':
            settings['kind'] = kind or saved.get('kind', 'classify')
        elif not saved:
            raise UserError(f'{self.path}: found no {LABELS}, expected what a checkpoint of the task {task} has.')
        if name in HEADS:
            model = self._outputs(name) or saved.get('num_labels')
            self._add_classes(settings, model, given.get('num_labels'), label_map_config)
        return settings

    def _add_classes(self, settings, model, asked, label_map_config):
        """`num_labels`, `labels` and perhaps `label_map`. model: how many classes it has, if that is known."""
        label_map = load_label_map(label_map_config) if label_map_config else None
        number = count_labels(asked, label_map, label_map_config, model)
        names = None if label_map else settings.get('labels')
        names = names or label_names(label_map, number)
        if len(names) != number:
            path = os.path.join(self.path, LABELS)
            raise bad_input(path, f'{len(names)} labels', f'{number}, the classes of the model')
        settings |= {'num_labels': number, 'labels': names} | ({'label_map': label_map} if label_map else {})

    def _outputs(self, task):
        """Classes of the head, None where there is no head to look at."""
        if self.tensors is None or HEADS[task] not in self.tensors:
            return None
        return self.tensors.shape(HEADS[task])[-1]

    def _task(self, tokenizer):
        task_class = inference_task(self.settings['task'])
        try:
            task = task_class(self.config, tokenizer, self.settings)
        except KeyError as e:
            raise bad_input(os.path.join(self.path, LABELS), f'no {e.args[0]}', 'what a checkpoint has there') from e
        constants = self.exported['constants'] if self.exported else task.constants(self.tensors)
        if not constants:
            return task
        self.settings['constants'] = constants
        return task_class(self.config, tokenizer, self.settings)

    def files(self):
        """dict file name -> bytes: vocabulary, labels and configurations, for an exported folder."""
        settings = {name: value for name, value in self.settings.items() if name != 'constants'}
        return {
            LABELS: to_json(settings),
            ERNIE_CONFIG: to_json(self.config.to_dict()),
            **self.task.tokenizer.files(self.config.max_position_embeddings),
        }


def to_json(value):
    """A JSON file as bytes."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + '\n').encode()


def _read_exported(folder):
    """Content of `inference.json`, checked; None where there is none."""
    path = os.path.join(folder, INFERENCE)
    if not os.path.lexists(path):
        return None
    expected = 'what an export writes there'
    found = read_json_object(path, expected)
    outputs = found.get('outputs')
    if found.get('format') not in ('paddle', 'onnx'):
        raise bad_input(path, f'format {quoted(found.get("format"))}', 'paddle or onnx')
    if not isinstance(found.get('constants'), dict):
        raise bad_input(path, f'constants {quoted(found.get("constants"))}', 'an object')
    if not isinstance(outputs, list) or not outputs or not all(map(_is_output, outputs)):
        raise bad_input(path, f'outputs {quoted(outputs)}', 'a list of objects with a name and a shape')
    return found


def _is_output(output):
    if not isinstance(output, dict) or not isinstance(output.get('shape'), list):
        return False
    return len(output['shape']) <= 32 and all(type(size) is int and -1 <= size < 1 << 31 for size in output['shape'])

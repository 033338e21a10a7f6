"""A folder that predictions can be made from: a checkpoint, or an exported model. Nothing but its path is needed."""

import os

from ernie.checkpoint.model_folder import LABELS, companion_files
from ernie.decoding.classes import check_label_map, count_labels, label_names
from ernie.reader.classify import load_label_map
from ernie.run.exported import VECTORS
from ernie.run.source import Source
from ernie.tasks import table
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.train.checkpoint import STATE

log = get_logger(__name__)

# What a folder of 2019, without labels.json, is taken to be.
DEFAULTS = {'max_seq_len': 128, 'for_cn': True, 'task_id': 0}


class ModelFolder(Source):
    """Everything that prediction and export need of a model.

    Args:
        path: see `Source`.
        task: name of `ernie.tasks.table.choices` that the folder must be of; None takes what it says.
        ernie_config_path, vocab_path, label_map_config: files instead of those in the folder.
        sentence_piece_model, word_dict: files of ERNIE tiny's tokenizer, for a folder that has none.
        num_labels, max_seq_len, do_lower_case, tokenizer, for_cn: values instead of those in its `labels.json`.

    Attributes, beside those of `Source`:
        spec: `TaskSpec`.
        settings: dict, `labels.json` with what flags replace in it, and with `constants`.
        codec: `Codec`.

    Raises:
        UserError: something is missing, broken, or of another task.
        UsageError: the flags contradict the folder.
    """

    def __init__(
        self,
        path,
        task=None,
        *,
        ernie_config_path=None,
        vocab_path=None,
        label_map_config=None,
        sentence_piece_model=None,
        word_dict=None,
        **given,
    ):
        if not os.path.exists(path):
            raise bad_input(path, 'no such folder', 'a checkpoint or an exported model')
        subword = sentence_piece_model, word_dict
        super().__init__(path, ernie_config_path, vocab_path, subword=subword, takes_exported=True)
        if self.exported and VECTORS in self.exported:
            advice = "ernie.load(..., task='embedding') reads it."
            raise bad_input(self.path, 'an exported model that gives vectors', 'a fine-tuned model', advice=advice)
        given = {name: value for name, value in given.items() if value is not None}
        self.spec, kind = self._task(task)
        if self.tensors is not None and not self.saved and self.spec.head[0] not in self.tensors:
            advice = f'Train it on labels of yours: ernie finetune FILE --model {self.path}'
            raise bad_input(
                self.path, f'a pre-trained model without {self.spec.head[0]}', 'a fine-tuned one', advice=advice
            )
        self.settings = self._settings(kind, label_map_config, given)
        names = ('tokenizer', 'do_lower_case')
        tokenizer = self.tokenizer(*map(given.get, names), by_characters=self.spec.by_characters)
        self.settings |= {'tokenizer': type(tokenizer).__name__, 'do_lower_case': tokenizer.do_lower_case}
        self.check_lengths(self.settings['max_seq_len'], self.settings['task_id'])
        self.codec = self._codec(tokenizer)

    def _task(self, asked):
        """The `TaskSpec`, and the kind that is asked for or None."""
        saved = self.saved
        if not saved:
            self._check_without_labels(asked)
        spec, kind = table.choices()[asked] if asked else (table.find(saved.get('task', 'classification')), None)
        if saved.get('task', spec.name) != spec.name or (kind and saved.get('kind', kind) != kind):
            found = saved['task'] + (f' ({saved["kind"]})' if 'kind' in saved else '')
            raise UserError(f'{self.path}: found a checkpoint of the task {found}, expected {asked} (--task).')
        if spec.needs_labels and not saved:
            raise UserError(f'{self.path}: found no {LABELS}, expected what a checkpoint of the task {asked} has.')
        return spec, kind

    def _check_without_labels(self, asked):
        """Refuse a folder that lost its `labels.json`; one of 2019 never had it, and is taken for a classifier."""
        path = os.path.join(self.path, LABELS)
        if self.exported or os.path.isfile(os.path.join(self.path, STATE)):
            advice = 'Copy the whole folder again.'
            raise bad_input(path, 'no such file', 'the task and labels of the model', advice=advice)
        if asked:
            return
        if self._outputs(table.find('classification').head[0]) == 1:
            raise bad_input(path, 'no such file, and a head of one output', 'that file, or --task regression')
        if self.tensors.source == 'safetensors':
            log.warning('%s: no such file: taken for a classifier whose classes have no names', path)

    def _settings(self, kind, label_map_config, given):
        saved, spec = self.saved, self.spec
        longest = min(DEFAULTS['max_seq_len'], self.config.max_position_embeddings)
        settings = DEFAULTS | {'max_seq_len': longest} | saved | given | {'task': spec.name}
        if settings['max_seq_len'] < 3:
            raise UsageError(f'--max_seq_len {settings["max_seq_len"]}: expected at least 3.')
        if spec.kinds:
            settings['kind'] = kind or saved.get('kind', next(iter(spec.kinds.values())))
        if spec.has_classes:
            model = self._outputs(spec.head[0]) or saved.get('num_labels')
            self._add_classes(settings, model, given.get('num_labels'), label_map_config)
        return settings

    def _add_classes(self, settings, model, asked, label_map_config):
        """`num_labels`, `labels` and perhaps `label_map`. model: how many classes it has, if that is known."""
        label_map = load_label_map(label_map_config) if label_map_config else None
        number = count_labels(asked, label_map, label_map_config, model)
        if label_map:
            check_label_map(label_map, label_map_config, self.saved)
        names = None if label_map else settings.get('labels')
        names = names or label_names(label_map, number)
        if len(names) != number:
            path = os.path.join(self.path, LABELS)
            raise bad_input(path, f'{len(names)} labels', f'{number}, the classes of the model')
        settings |= {'num_labels': number, 'labels': names} | ({'label_map': label_map} if label_map else {})

    def _outputs(self, weight):
        """Classes of the head, None where there is no head to look at."""
        return self.tensors.shape(weight)[-1] if self.tensors and weight in self.tensors else None

    def _codec(self, tokenizer):
        made = self.spec.load('codec')
        try:
            codec = made(self.config, tokenizer, self.settings)
        except KeyError as e:
            raise bad_input(os.path.join(self.path, LABELS), f'no {e.args[0]}', 'what a checkpoint has there') from e
        constants = self.exported['constants'] if self.exported else codec.constants(self.tensors)
        if not constants:
            return codec
        self.settings['constants'] = constants
        return made(self.config, tokenizer, self.settings)

    def graph(self, device=None):
        """The `Graph` of a checkpoint. device: GPU number, None for the processor."""
        from ernie.inference.export import Graph  # what has been exported is read without graphs

        return Graph(self, device)

    def described(self):
        """dict, what `inference.json` says of the task beside outputs and constants."""
        return {}

    def files(self):
        """dict file name -> bytes: vocabulary, labels and configurations, for an exported folder."""
        settings = {name: value for name, value in self.settings.items() if name != 'constants'}
        return companion_files(self.config, self.codec.tokenizer, settings, exported=True)

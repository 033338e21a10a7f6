"""What the tasks share: their graphs, their data, evaluation, prediction, export."""

import os
from typing import NamedTuple

from ernie.hub import layers
from ernie.hub.expressions import Building, Value
from ernie.hub.log import log
from ernie.hub.reader.base import BaseReader
from ernie.hub.run_config import RunConfig
from ernie.hub.tasks.predicting import Predicts
from ernie.hub.tasks.states import BEST, FACTS
from ernie.hub.tasks.training import Trains
from propeller import graph
from propeller.errors import UsageError, UserError, bad_input, one_of, quoted
from propeller.graph import Feed, cuda_devices

_DROPOUT = 0.1


class Outputs(NamedTuple):
    """Graph values of a program: `predictions`, list of [B, ...]; `loss`, scalar, None in prediction."""

    predictions: list
    loss: object = None


class BaseTask(Trains, Predicts):
    """A head on a network, trained and used with what a reader gives.

    Args:
        feature: the network's last `Value`.
        feed_list: names of its inputs, as `[inputs["word_ids"].name]`.
        data_reader: of `hub.reader`.
        startup_program: 2019's; there is none here.
        config: `RunConfig`; None: `RunConfig()`.
        hidden_units: list of widths of layers (relu) before the last one; None for none.
        metrics_choices: scores by name, the first of which chooses the best model; `default`.
        dataset: where the reader has none.
    Raises:
        UserError: the network needs inputs that `feed_list` or the reader does not have.
    """

    metrics = ('loss',)  # that can be asked for, the default first
    label_shape, label_type = (-1,), 'int64'
    takes_sequence = False
    num_classes = 0

    def __init__(
        self,
        feature,
        feed_list,
        data_reader,
        startup_program=None,
        config=None,
        hidden_units=None,
        metrics_choices='default',
        dataset=None,
    ):
        what = type(self).__name__
        self.feature, self.reader = self._feature(feature), data_reader
        self.config = RunConfig() if config is None else config
        if not isinstance(data_reader, BaseReader):
            raise UserError(f'{what}: data_reader: found {quoted(data_reader)}, expected one of hub.reader.')
        if not isinstance(self.config, RunConfig):
            raise UserError(f'{what}: config: found {quoted(config)}, expected hub.RunConfig(...).')
        if dataset is not None:
            data_reader.dataset = dataset
        self.program, self.module = feature.program, feature.program.module
        self.scores = self._scores(metrics_choices)
        self.logits, self.predictions = self._head(self._hidden(self.feature, hidden_units))
        self.feeds = self._feeds(feed_list)
        self.session = self.trained = self._world = self._kept_labels = None
        self._programs = {}
        self.best_score = None

    def _feature(self, feature):
        what = type(self).__name__
        if not isinstance(feature, Value):
            raise UserError(f'{what}: feature: found {quoted(feature)}, expected a value of a network.')
        if bool(feature.mask) != self.takes_sequence or feature.dtype != 'float32':
            kind = 'a vector for each word' if self.takes_sequence else 'one vector for each text'
            raise UserError(f'{what}: feature: found {feature}, expected {kind}.')
        return feature

    def _scores(self, choices):
        what = type(self).__name__
        names = list(self.metrics[:1]) if choices in ('default', None) else choices
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self.metrics:
                raise UsageError(f'{what}: metrics_choices {quoted(name)}: expected {one_of(name, self.metrics)}')
        return names or list(self.metrics[:1])

    def _hidden(self, value, units):
        value = layers.dropout(value, _DROPOUT, dropout_implementation='upscale_in_train')
        for width in units or ():
            value = layers.fc(value, width, act='relu')
        return value

    def _feeds(self, feed_list):
        """Names of the inputs that the network needs, in their order."""
        what, needed = type(self).__name__, self.program.feeds(self.logits)
        if isinstance(feed_list, str) or not all(isinstance(name, str) for name in feed_list):
            raise UserError(f'{what}: feed_list: found {quoted(feed_list)}, expected names: [inputs["word_ids"].name].')
        for name in feed_list:
            if name not in self.program.inputs:
                known = one_of(name, self.program.inputs)
                raise UserError(f'{what}: feed_list: found {quoted(name)}, expected inputs of the network: {known}')
        for name in needed:
            if name not in self.reader.inputs:
                reads = 'LACClassifyReader' if name == 'word_ids' else 'ClassifyReader'
                found = f'{type(self.reader).__name__}, which gives {", ".join(self.reader.inputs)}'
                raise UserError(f'{what}: found {found}, expected a reader that gives {name}, as {reads} does.')
            if name in self.program.inputs and not self.program.inputs[name].is_mask and name not in feed_list:
                raise UserError(f'{what}: feed_list: found {quoted(list(feed_list))}, expected {name} in it too.')
        return needed

    # ------------------------------------------------------------ what a task says

    def _head(self, value):
        """The last layer: (`Value` of the logits, list of `Value`s that are predicted)."""
        raise NotImplementedError

    def loss(self, logits, label, mask):
        """Scalar graph value. mask: float32 [B, T] of a sequence, else None."""
        raise NotImplementedError

    def labels(self, examples, tokenized, reader):
        """What `label_arrays` makes batches of."""
        raise NotImplementedError

    def label_array(self, rows, indices):
        """The label of some rows."""
        return rows.labels[indices]

    def measure(self, pairs):
        """Scores of (rows, indices, predictions) of an evaluation: dict name -> float."""
        raise NotImplementedError

    def facts(self):
        """JSON-able dict: what a checkpoint must be of to be used by this task."""
        module = {'encoder': self.module.config.encoder} if self.module else {}
        labels = {'labels': self.label_names()} if self.reader.dataset is not None else {}
        return {'task': type(self).__name__, **labels, **self.reader.described(), **module}

    def label_names(self):
        """The labels: those of the data set; without one those of the checkpoint, else numbers. list of str."""
        if self.reader.dataset is not None:
            return self.reader.dataset.get_labels()
        return self._kept_labels or [str(i) for i in range(self.num_classes)]

    # ------------------------------------------------------------ graphs

    @property
    def world(self):
        """The processes of the job, `propeller.distribution.World`."""
        if self._world is None:
            from propeller.distribution import join, log_in_main_process_only

            self._cuda = self.config.use_cuda and cuda_devices() > 0
            if self.config.use_cuda and not self._cuda:
                log.info('use_cuda is True, and there is no GPU: on the processor')
            self._world = join(self._cuda)
            log_in_main_process_only(self._world)
        return self._world

    def open_session(self, seed=None):
        """The `Session`, made once. seed: of a training that goes on."""
        if self.session is None:
            from propeller.session import Session

            world = self.world
            self.session = Session(self._cuda, seed, world=world)
        if seed is not None:
            self.session.seed = seed
        return self.session

    def build(self, mode, steps=0):
        """The program of a mode: `train`, `eval` or `predict`. steps: updates of the whole training."""
        feeds = [Feed(name, *self.program.feed(name)) for name in self.feeds]
        if mode != 'predict':
            feeds.append(Feed('label', self.label_shape, self.label_type))

        def build(*given):
            arrays = dict(zip([feed.name for feed in feeds], given, strict=True))
            building = Building(arrays, mode == 'train')
            logits, *predictions = building.values(self.logits, *self.predictions)
            if mode == 'predict':
                return Outputs(predictions)
            with graph.full_precision():
                mask = building.mask(self.logits) if self.takes_sequence else None
                loss = self.loss(graph.float32(logits), arrays['label'], mask)
            if mode == 'train':
                self.config.strategy.minimize(loss, steps)
            return Outputs(predictions, loss)

        return self.open_session().build(feeds, build, exact=mode != 'train')

    def program_of(self, mode):
        """The evaluation or prediction program, built once."""
        if mode not in self._programs:
            self._programs[mode] = self.build(mode)
        return self._programs[mode]

    def rows(self, phase):
        """The `Rows` of a split of the data set."""
        return self.reader.rows(phase, self, self.program.max_seq_len)

    def arrays(self, rows, indices, labelled):
        """The arrays of a batch in the order of the feeds."""
        given = self.reader.arrays(rows, indices)
        arrays = [given[name] for name in self.feeds]
        return [*arrays, self.label_array(rows, indices)] if labelled else arrays

    # ------------------------------------------------------------ parameters

    def ready(self, load_best=True):
        """The session with values: those of a training in this object, or of the folder of the configuration.

        Args:
            load_best: take those of the best model there, if there is one.
        Raises:
            UserError: nothing was trained.
        """
        folder = self._checkpoint(load_best)
        if folder is None and self.trained:
            return
        if folder is None:
            where = self.config.checkpoint_dir
            advice = 'Train first, or give RunConfig(checkpoint_dir=...) of a training: what was never trained '
            raise bad_input(where, 'no trained model', f'{BEST} or step_N', advice=f'{advice}predicts nothing.')
        if folder != self.trained:
            self._load(folder)

    def _checkpoint(self, load_best):
        from propeller.train.checkpoint import STATE, Checkpoints

        root = self.config.checkpoint_dir
        best = os.path.join(root, BEST)
        if load_best and os.path.isfile(os.path.join(best, STATE)):
            return best
        return None if self.trained else Checkpoints(root).newest()

    def _load(self, folder):
        from propeller.train.checkpoint import read_state, restore_parameters

        self.check_facts(folder)
        program = self.program_of('predict')
        session = self.open_session()
        session.initialize(program)
        restore_parameters(folder, session, program)
        self.trained, self.best_score = folder, read_state(folder).get('value', self.best_score)
        log.info('Load the model from %s', folder)

    def check_facts(self, folder):
        """Raises `UserError`: the checkpoint is of another task, other labels or other words."""
        from propeller.inputs import read_json_object

        path = os.path.join(folder, FACTS)
        found, own = read_json_object(path, 'what a task of hub keeps in a checkpoint'), self.facts()
        for name in sorted(own):
            if found.get(name) != own.get(name):
                what = f'{name} {quoted(found.get(name), 80)}'
                raise bad_input(path, what, f'{quoted(own.get(name), 80)}, as this task has it')
        labels = found.get('labels')
        known = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        self._kept_labels = labels if known and len(labels) == self.num_classes else None

    def files(self):
        """dict file name -> bytes, what lies beside the parameters in each checkpoint."""
        from ernie.hub.tasks.states import facts_file
        from ernie.tokenizers.vocabulary import vocabulary_bytes

        return {FACTS: facts_file(self), 'vocab.txt': vocabulary_bytes(self.reader.vocab_path)}

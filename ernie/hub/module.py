"""`hub.Module`: a pre-trained encoder by its name or from its folder, as inputs and outputs of a recorded network."""

import os

from ernie.hub.expressions import Program, Value
from ernie.hub.log import log
from ernie.hub.names import ALIASES, ELMO, MODULES
from propeller import graph
from propeller.errors import UsageError, UserError, did_you_mean, quoted
from propeller.graph import paddle

_IDS = ('input_ids', 'position_ids', 'segment_ids')
_MASK, _TASKS = 'input_mask', 'task_ids'
_LENGTH = 128


class Module:
    """A pre-trained encoder: any model folder, or a name that `ernie list` shows. Nothing of it is executed.

    Args:
        name: of the module: a name of PaddleHub that has a counterpart here (`ernie`, `ernie_tiny`,
            `ernie_v2_eng_base`, `bert_chinese_L-12_H-768_A-12` ...), or what `ernie.zoo` knows. `elmo` is an ELMo that
            is trained on this machine at first use, see `ernie.hub.elmo_small`.
        directory: its folder instead: a model folder or checkpoint, or the folder of a training, of which the best
            counts.
        module_dir: 2019's name for `directory`.
        version: None: modules have no versions here.
    Attributes:
        name: as given, or the path of the folder.
        config: `ErnieConfig` of the encoder.
        source: `ernie.run.source.Source`, its files.
    Raises:
        UserError: there is no such module, or its files are no model.
        UsageError: no name and no folder, or both.
    """

    def __init__(self, name=None, directory=None, module_dir=None, version=None):
        given = [value for value in (name, directory, module_dir) if value is not None]
        if len(given) != 1:
            raise UsageError(
                f'hub.Module: found {len(given)} of name, directory and module_dir, expected one of them: '
                'hub.Module(name="ernie") or hub.Module(directory="FOLDER").'
            )
        if version is not None:
            raise UsageError(
                'hub.Module: version: modules have no versions here. Leave it out; a revision of the Hugging Face hub '
                'stands behind the name: NAME@REVISION.'
            )
        if not isinstance(given[0], str | os.PathLike):
            raise UserError(f'hub.Module: found {quoted(given[0])}, expected a name or a path.')
        self.name = os.fspath(given[0])
        self.source = _open(self.name, is_name=name is not None)
        self.config = self.source.config
        log.info('module %s: %s', self.name, self.source.path)

    # ------------------------------------------------------------ what belongs to it

    def get_vocab_path(self):
        """The path of its vocabulary."""
        return self.source.vocab_path

    @property
    def reads_words(self):
        """Whether it reads `word_ids`, as ELMo does; else the four inputs of ERNIE and BERT."""
        from ernie.model.encoders import ERNIE

        return self.config.encoder != ERNIE

    # ------------------------------------------------------------ as a network

    def context(
        self, sign_name=None, for_test=False, trainable=True, regularizer=None, max_seq_len=None, learning_rate=None
    ):
        """The module as a network.

        Args:
            sign_name: None: a module has one signature here.
            for_test: whether its dropout is off in training too.
            trainable: whether its parameters are trained.
            regularizer: None: weight decay is the strategy's.
            max_seq_len: tokens of a text at most, of modules that do not read words. None: 128, or as many as it can.
            learning_rate: share of the strategy's rate that its parameters are trained with. None: 1; that is what
                2019's default came to, since the attributes that were stored with a module replaced it.
        Returns:
            (inputs, outputs, program): dicts of `Value`s by name and by position from 0, and the `Program`.

            ERNIE, BERT: inputs `input_ids`, `position_ids`, `segment_ids`, `input_mask` (and `task_ids` where the model
            has them); outputs `pooled_output` (-1, H), `sequence_output`, a sequence (-1, H). Others: input `word_ids`;
            outputs `{encoder}_embed`, a sequence, such as `elmo_embed`; `sequence_output`, the same; `pooled_output`.
        """
        if sign_name is not None:
            raise UsageError(f'context: sign_name {quoted(sign_name)}: expected None: a module has one signature here.')
        if regularizer is not None:
            raise UsageError('context: regularizer: expected None: weight_decay of the strategy is for all parameters.')
        max_seq_len = self._length(max_seq_len)
        if learning_rate is not None:
            if isinstance(learning_rate, bool) or not isinstance(learning_rate, int | float) or learning_rate < 0:
                raise UserError(f'context: learning_rate: found {quoted(learning_rate)}, expected a share from 0.')
            log.info('module %s: learning rate %g times that of the strategy', self.name, learning_rate)
        program = Program()
        program.module, program.max_seq_len = self, max_seq_len
        inputs = self._inputs(program)
        built = _Encoder(self.config, inputs, for_test, trainable, 1.0 if learning_rate is None else learning_rate)
        hidden, of_words = self.config.hidden_size, next(iter(inputs.values()))
        sequence = self._output(program, 'sequence_output', inputs, (-1, hidden), built.sequence, of_words.mask)
        pooled = self._output(program, 'pooled_output', inputs, (-1, hidden), built.pooled)
        outputs = {'pooled_output': pooled, 'sequence_output': sequence}
        if self.reads_words:
            outputs = {f'{self.config.encoder}_embed': sequence, 'sequence_output': sequence, 'pooled_output': pooled}
        return _Values('input', inputs), _Values('output', outputs), program

    def _length(self, asked):
        """`max_seq_len` of `context`; None for a module that reads words."""
        most = self.config.max_position_embeddings
        if self.reads_words:
            return None
        if asked is None:
            return min(_LENGTH, most)
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= most:
            raise UsageError(f'context: max_seq_len({quoted(asked)}) should be in the range of [1, {most}].')
        return asked

    def _inputs(self, program):
        if self.reads_words:
            return {'word_ids': program.input('word_ids', (-1, 1), 'int64', sequence=True, mask=_MASK)}
        inputs = {name: program.input(name, (-1, 1), 'int64', sequence=True, mask=_MASK) for name in _IDS}
        inputs[_MASK] = program.input(_MASK, (-1, 1), 'float32')
        inputs[_MASK].is_mask = True
        if self.config.use_task_id:
            inputs[_TASKS] = program.input(_TASKS, (-1, 1), 'int64', sequence=True, mask=_MASK)
        return inputs

    @staticmethod
    def _output(program, name, inputs, shape, build, mask=None):
        return program.add(Value(program, name, shape, 'float32', mask, inputs.values(), build))

    # ------------------------------------------------------------ its parameters

    def load_parameters(self, session, program):
        """Give the encoder of a built `program` the values of the module. Returns how many parameters they are."""
        from ernie.checkpoint import backbone_shapes, match_parameters
        from ernie.checkpoint.strict import may_begin
        from propeller.storage.values import load_values

        own = backbone_shapes(self.config)
        wanted = {name: shape for name, shape in program.parameters().items() if name in own}
        # What the network does not use of the encoder, as its pooled output, needs no mention.
        match = match_parameters(wanted, self.source.tensors, may_begin(self.source.tensors), allow_unused=[*own])
        load_values(session, match.load, self.source.tensors)
        if match.new:
            log.info('module %s has no %s: begun anew', self.name, ', '.join(match.new))
        return len(match.load)


class _Encoder:
    """Builds the encoder once for each graph, whichever of its outputs is asked for first."""

    def __init__(self, config, inputs, for_test, trainable, share):
        self.config, self.names, self.for_test = config, list(inputs), for_test
        self.rules = {'frozen': lambda name: not trainable, 'rate': lambda name: share}

    def sequence(self, building, *arrays):
        return self._of(building, arrays, lambda encoder: encoder.get_sequence_output())

    def pooled(self, building, *arrays):
        return self._of(building, arrays, lambda encoder: encoder.get_pooled_output())

    def _of(self, building, arrays, output):
        from ernie.model.encoders import build_encoder

        with graph.parameter_rules(**self.rules):
            if building.encoder is None:
                given = dict(zip(self.names, arrays, strict=True))
                mask, ids = building.arrays[_MASK], given.get('word_ids', given.get('input_ids'))
                places = paddle.cumsum(mask * 0 + 1, axis=1).astype('int64') - 1
                types, positions = given.get('segment_ids', ids * 0), given.get('position_ids', places)
                features = [ids, types, positions, mask, *filter(graph.is_value, [given.get(_TASKS)])]
                building.encoder = build_encoder(features, self.config, building.training and not self.for_test)
            return output(building.encoder)


class _Values(dict):
    """The `Value`s of a module by name and by position. kind: what an error calls one."""

    def __init__(self, kind, values):
        super().__init__({**dict(enumerate(values.values())), **values})
        self._kind, self._names = kind, list(values)

    def __missing__(self, key):
        meant = did_you_mean(str(key), self._names)
        raise UserError(f'the module has no {self._kind} {quoted(key)}, expected {", ".join(self._names)}.{meant}')


def _open(name, is_name):
    """The `Source` of a module."""
    from ernie.inference.find import find_model
    from ernie.run.source import Source

    if not is_name and not os.path.isdir(name):
        raise UserError(f'hub.Module: directory {quoted(name)}: found no such folder, expected that of a model.')
    if is_name and name in ALIASES:
        return Source(ALIASES[name])
    if is_name and name in ELMO:
        from ernie.hub.elmo_small import module_folder

        return Source(module_folder())
    if is_name and name in MODULES:
        near = ', '.join([*ELMO[:1], *ALIASES])
        raise UserError(
            f'hub.Module: {name}: a module of PaddleHub that has no counterpart here. Of those of PaddleHub there are '
            f'{near}; `ernie list` shows all models.'
        )
    try:
        return Source(find_model(name))
    except UserError as e:
        near = did_you_mean(name, [*ELMO, *ALIASES]) if is_name and not os.path.exists(name) else ''
        raise type(e)(f'{e}{near if near.strip() not in str(e) else ""}') from None

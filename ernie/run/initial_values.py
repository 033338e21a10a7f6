"""First values of the parameters of a run: from a checkpoint, from a pre-trained model, or random."""

import numpy as np

from ernie.checkpoint import match_parameters
from ernie.checkpoint.names import is_training_state
from ernie.checkpoint.strict import may_begin, warn_of_unmatched
from propeller.args import split_list
from propeller.errors import bad_input
from propeller.log import get_logger
from propeller.storage.values import load_values
from propeller.train.checkpoint import lost_optimizer

log = get_logger(__name__)

DECAY_COUNTER = '@LR_DECAY_COUNTER@'


class InitialValues:
    """The values that the flags ask for.

    Args:
        args: the flags.
        source: `ernie.run.source.Source`.
        run: `propeller.train.run.TrainingRun`.
        is_new: name -> whether pre-trained parameters may lack it, because it belongs to the task's head.
        other_head: see `Task.other_head`; None: a head that is there must fit.
    """

    def __init__(self, args, source, run, is_new, other_head=None):
        self.args, self.source, self.run, self.is_new, self.other_head = args, source, run, is_new, other_head

    def load(self, session, program):
        """Give `program` its values. Returns the number of updates done by earlier runs."""
        session.initialize(program)
        if self.run.resumes:
            return self.run.restore(session, program, needed=('data_position', 'random_state', 'hooks'))
        if not self.source.path:
            log.warning('no --init_checkpoint and no --init_pretraining_params: all parameters are random')
            return 0
        allowed = () if self.run.start else split_list(self.args.allow_missing)
        allowed_unused, tensors = split_list(self.args.allow_unused), self.source.tensors
        warn_of_unmatched('--allow_missing', allowed, program.parameters())
        warn_of_unmatched('--allow_unused', allowed_unused, [*tensors, *tensors.unmapped])
        begun = may_begin(tensors)
        new_head = (lambda name: False) if self.run.start else lambda name: self.is_new(name) or begun(name)
        left = () if self.run.start else self._head_left_out(program.parameters())
        wanted = {name: shape for name, shape in program.parameters().items() if name not in left}
        allowed_unused = [*allowed_unused, *self.source.left_out, *left]
        match = match_parameters(wanted, tensors, new_head, allowed, allowed_unused)
        load_values(session, match.load, tensors)
        log.debug('%s: %d parameters loaded', self.source.path, len(match.load))
        if match.new or left:
            log.debug('new, with random values: %s', ', '.join([*match.new, *left]))
        unused = [*match.unused, *tensors.unmapped]
        if any(not is_training_state(name) for name in unused):
            log.debug('not used: %s', ', '.join(name for name in unused if not is_training_state(name)))
        return self._load_old_optimizer(session, program) if self.run.start and program.training else 0

    def _head_left_out(self, parameters):
        """Names of the head of a pre-trained model that are not taken, because it has learnt other classes; says so.

        parameters: dict name -> shape, those of the program.
        """
        tensors = self.source.tensors
        head = [name for name in parameters if self.is_new(name) and name in tensors]
        if not head or not self.other_head:
            return []
        fits = all(tuple(tensors.shape(name)) == tuple(parameters[name]) for name in head)
        other = self.other_head(self.source.saved) or ('' if fits else 'other classes')
        if not other:
            return []
        log.info('%s: the head of %s is left out: a new one', self.source.path, other)
        return head

    def _load_old_optimizer(self, session, program):
        """Moments and step counter of a training checkpoint of 2019. Returns the updates done.

        The data position was not kept in 2019: the epochs start anew, while the schedule goes on.
        """
        state, tensors = program.optimizer_state(), self.source.tensors
        if not all(name in tensors and tensors.shape(name) == shape for name, shape in state.items()):
            log.info('%s holds no optimizer state: moments and schedule start anew', self.source.path)
            if lost_optimizer(self.source.path):
                log.warning(
                    '%s: only the newest checkpoint of its training kept the optimizer state. To go on exactly, give '
                    'that one; a training with --max_checkpoints 0 keeps all of them whole',
                    self.source.path,
                )
            return 0
        load_values(session, state, tensors)
        steps = 0
        if DECAY_COUNTER in tensors:
            # fluid stored the number that the last update had: linear decay counted from 0, noam from 1.
            steps = self._counter() + (self.args.lr_scheduler != 'noam_decay')
        session.set_updates_done(program, steps)
        log.info('optimizer state loaded; the schedule continues after %d updates, the data start anew', steps)
        return steps

    def _counter(self):
        array = np.asarray(self.source.tensors[DECAY_COUNTER])
        if array.size != 1 or array.dtype.kind not in 'iu' or not 0 <= array.reshape(())[()] < 2**31:
            found = f'{DECAY_COUNTER} of {array.dtype} {list(array.shape)}'
            raise bad_input(self.source.path, found, 'the number of an update, a whole number from 0')
        return int(array.reshape(()))

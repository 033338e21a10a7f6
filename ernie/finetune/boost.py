"""`--boost`: what the head reads of a frozen encoder is computed once for each text, kept, and trained on."""

import hashlib
import json
import os
import time

import numpy as np

import ernie.model
import propeller.ops
from ernie.finetune.vectors import make_vectors
from ernie.model.encoders import POOLED, build_encoder
from ernie.model.known_vectors import vector_feed
from ernie.model.task_model import encoder_feeds
from ernie.reader.dataset_folder import data_digest
from ernie.reader.fitting import text_rules
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.blocks import clock
from propeller import graph
from propeller.data.batching import plan_batches
from propeller.errors import bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.session import FUSED

log = get_logger(__name__)

_TOKENS = 1 << 20  # that are hashed at a time
_SOURCES = ('.py', '.cc', '.h')


def prepare_encoder(args, session, task, run):
    """Tell a task how its encoder takes part in the training: `encoder_dropout` and `boost`.

    A frozen encoder has no dropout, but in a run that began before that was so.

    Args:
        args, session, task: see `Boost`.
        run: `TrainingRun`.
    Raises:
        UserError: --boost true, and the run that is gone on with has dropout inside its encoder.
    """
    drops = not args.freeze_encoder or (run.resumes and run.state.get('encoder_dropout', True))
    if drops and args.boost:
        expected, advice = 'one without: stored vectors have none', 'Go on without --boost, or begin anew.'
        raise bad_input(run.start, 'a training with dropout inside the frozen encoder', expected, advice=advice)
    if drops and args.freeze_encoder:
        log.info('%s began with dropout inside its frozen encoder, and goes on so', run.start)
    task.encoder_dropout, task.boost = drops, Boost(args, session, task) if args.boost else None


class Boost:
    """The vectors of the texts of a run, instead of the encoder that makes them.

    Args:
        args: `FinetuneSettings`.
        session: of the run. Training texts are computed in its precision, those that are evaluated in float32, as both
            would be with the encoder.
        task: `Task`.
    Attributes:
        parameters: dict name -> (shape, initialiser) of the encoder's parameters, see `KnownVectors`.
        feed: the `graph.Feed` of the vectors.
    """

    def __init__(self, args, session, task):
        self.args, self.session, self.task, self.config = args, session, task, task.config
        self._programs, self._digests, self._of_encoder = {}, {}, None
        self.parameters = self._program(exact=False).initial
        self.feed = vector_feed(self.config)

    def compute_all(self, rows, others):
        """`compute` for the training rows and for a list of other sets."""
        self.compute(rows, exact=False)
        for of_set in others:
            self.compute(of_set)

    def compute(self, rows, exact=True):
        """Let `rows.vectors` be the vectors of the rows of a set; the parameters have their values.

        Args:
            rows: `TokenizedSet`.
            exact: whether in float32, whatever the precision of the session.
        """
        started, program = time.monotonic(), self._program(exact)
        identity = self._identity(rows, program)
        with self.session.world.local_main_process_first():
            found = make_vectors(
                identity, self.config.hidden_size, len(rows), lambda numbers: self._vectors(program, rows, numbers)
            )
        rows.vectors, made = found
        how = f'{made:,} computed in {clock(time.monotonic() - started)}' if made else 'all of them there already'
        log.info('vectors of %s: %s rows, %s, in %s', rows.path, f'{len(rows):,}', how, rows.vectors.folder)

    def _program(self, exact):
        exact = exact or self.session.precision == 'fp32'
        if exact not in self._programs:

            def build(*features):
                return graph.float32(build_encoder(features, self.config, read=POOLED).get_pooled_output())

            self._programs[exact] = self.session.build(encoder_feeds(self.config), build, exact=exact)
        return self._programs[exact]

    def _vectors(self, program, rows, numbers):
        """float32 [n, H] of some rows, in batches of like length."""
        numbers = np.asarray(numbers)
        found = np.empty((len(numbers), self.config.hidden_size), np.float32)
        batches = plan_batches(rows.lengths[numbers], self.args.predict_batch_size or self.args.batch_size,
                               in_tokens=self.args.in_tokens, shuffle=False)  # fmt: skip
        for places in progress(batches, 'computing vectors', len(numbers), count=len):
            arrays = encoder_arrays(rows, numbers[places], self.task.task_id)
            (found[places],) = self.session.run(program, arrays, [program.outputs])
        return found

    # ------------------------------------------------------------ what vectors depend on

    def _identity(self, rows, program):
        args = self.args
        self._of_encoder = self._of_encoder or self._encoder_digest(program)
        operators = (op.name() for op in program.main.global_block().ops)
        if rows.path not in self._digests:
            self._digests[rows.path] = data_digest(rows.path)
        return {
            'encoder': self._of_encoder,
            'config': _digest([json.dumps(self.config.to_dict(), sort_keys=True).encode()]),
            'tokenizer': self.task.tokenizer.fingerprint(),
            'reading': {**text_rules(vars(args)), 'max_seq_len': args.max_seq_len},
            'file': self._digests[rows.path],
            'tokens': _tokens_digest(rows),
            'task_id': self.task.task_id,
            'precision': program.precision,
            'fused_ops': any(name.startswith(FUSED) for name in operators),
            'use_cuda': bool(args.use_cuda),
            'code': _code_digest(),
        }

    def _encoder_digest(self, program):
        """Of the values of all parameters of the encoder."""
        names = sorted(program.parameters())
        return _digest(part for name in names for part in (name.encode(), self.session.read(name).data))


def _digest(blocks):
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _tokens_digest(rows):
    """Of what the encoder reads of a set."""
    flat = (np.ascontiguousarray(a[i : i + _TOKENS]).data for a in (rows.ids,) for i in range(0, len(a), _TOKENS))
    return _digest([*flat, *(np.ascontiguousarray(a).data for a in (rows.offsets, rows.split))])


def _code_digest():
    """Of the code of encoders and operators: a new version of the program must not find the vectors of an old one."""
    blocks = [graph.paddle.__version__.encode()]
    for package in (ernie.model, propeller.ops):
        for place, folders, names in os.walk(os.path.dirname(package.__file__)):
            folders.sort()
            for path in (os.path.join(place, name) for name in sorted(names) if name.endswith(_SOURCES)):
                with open(path, 'rb') as f:
                    blocks.append(f.read())
    return _digest(blocks)

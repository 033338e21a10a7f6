"""Vectors of texts and of their tokens, from any layer of the encoder, for a whole file.

Shapes: N texts, B batch, T length, H hidden, L layers.
"""

import os
import shutil

import numpy as np

from ernie.checkpoint import backbone_shapes, match_parameters
from ernie.checkpoint.names import is_training_state
from ernie.config import ErnieConfig
from ernie.inference.pooling import layer_number, pool, unit_length
from ernie.model.encoders import build_encoder
from ernie.model.task_model import encoder_feeds
from ernie.reader.classify import ClassifyReader
from ernie.reader.columns import ColumnNames
from ernie.reader.fitting import text_rules
from ernie.reader.sentence_types import check_sentence_types
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.device import with_device
from ernie.run.source import Source
from propeller.args import print_arguments, settings_lines, split_list
from propeller.data.batching import BatchStream
from propeller.distribution import require_single_process
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.session import Session
from propeller.storage.atomic import check_writable
from propeller.storage.folders import whole_folder
from propeller.storage.npy import ArrayWriter
from propeller.storage.values import load_values

log = get_logger(__name__)

POOLED_WEIGHT = 'pooled_fc.w_0'
TEXT_FILE, TOKEN_FILE, OFFSETS_FILE = 'cls_emb.npy', 'top_layer_emb.npy', 'offsets.npy'
LINES_FILE = 'lines.npy'
LONGEST = 512
SETTINGS = ('tokenizer', 'do_lower_case', 'task_id', 'for_cn', 'max_seq_len')


class Embedder:
    """The encoder as a source of vectors.

    Args:
        session: `propeller.session.Session`.
        config: `ErnieConfig`.
        pooling: one of `POOLINGS`. 'pooled' is the model's own pooled output, made of its last layer; the others are
            made of `layer`.
        layer: see `layer_number`.
        token_vectors: whether those of the tokens are wanted.
        task_id: value of the task id, for models with a task embedding.

    Raises:
        UsageError: there is no such layer, or nothing would be taken from it.
    """

    def __init__(self, session, config, pooling='pooled', layer=None, token_vectors=True, task_id=0):
        self.session, self.config, self.pooling, self.token_vectors = session, config, pooling, token_vectors
        self.layer, self.hidden_size = layer_number(layer, config.num_hidden_layers), config.hidden_size
        self.task_id = task_id if config.use_task_id else None
        self._reads_layer = token_vectors or pooling != 'pooled'
        if self.layer != config.num_hidden_layers and not self._reads_layer:
            raise UsageError(
                f'--layer {layer}: --pooling pooled is made of the last layer, and no token vectors are asked for. '
                f'Use --pooling cls, mean or max, or --top_layer true.'
            )
        # The executor computes a whole graph whatever is fetched, so layers that nobody reads are not built.
        layers = config.num_hidden_layers if pooling == 'pooled' else max(self.layer, 1)
        built = ErnieConfig({**config.to_dict(), 'num_hidden_layers': layers})
        self._program = session.build(encoder_feeds(built), lambda *features: self._build(features, built))
        self._fetch = self._program.outputs

    def _build(self, features, config):
        """-> list: [output of the layer], [pooled output], each only if it is read."""
        model = build_encoder(features, config)
        outputs = [[model.embedding_output, *model.layer_outputs][self.layer]] if self._reads_layer else []
        return [*outputs, model.get_pooled_output()] if self.pooling == 'pooled' else outputs

    def load(self, tensors, allow_unused=()):
        """Take the parameters from `ernie.checkpoint.Model`. allow_unused: see `match_parameters`.

        Raises:
            UserError: some are missing or of another shape or type, or not finite; or the encoder has more of them.
        """
        check_pooled(tensors, self.pooling)
        known = backbone_shapes(self.config)  # layers above the one that is wanted need no mention
        match = match_parameters(self._program.parameters(), tensors, allow_unused=[*known, *allow_unused])
        self.session.initialize(self._program, match.load)
        load_values(self.session, match.load, tensors)
        log.debug('%s: %d parameters loaded', tensors.path, len(match.load))
        unused = [n for n in (*match.unused, *tensors.unmapped) if not is_training_state(n) and n not in known]
        if unused:
            log.debug('not used: %s', ', '.join(unused))

    def describe(self):
        """dict file name -> what stands in it."""
        kind = {'pooled': 'the pooled output', 'cls': '[CLS]', 'mean': 'mean of tokens', 'max': 'maximum of tokens'}
        layer = f'layer {self.layer}' if self.layer else 'embeddings'
        text = kind[self.pooling] if self.pooling == 'pooled' else f'{kind[self.pooling]}, {layer}'
        return {TEXT_FILE: text, **({TOKEN_FILE: layer} if self.token_vectors else {})}

    def batches(self, rows, batch_size):
        """Vectors of a file, in batches of texts of like length.

        Args:
            rows: `TokenizedSet`.
            batch_size: texts of a batch.

        Yields:
            (row indices int64 [B], vectors of the texts float32 [B, H], those of the tokens float32 [B, T, H] or None).
        """
        stream = BatchStream(
            rows, lambda indices: encoder_arrays(rows, indices, self.task_id), batch_size, shuffle=False
        )
        for batch in stream:
            vectors, *tokens = self.run(batch.arrays)
            yield batch.rows, vectors, tokens[0] if self.token_vectors else None

    def run(self, arrays):
        """Of one batch: [vectors of the texts float32 [B, H]], and those of the tokens float32 [B, T, H] if wanted.

        arrays: of `encoder_arrays`.
        """
        fetched = self.session.run(self._program, arrays, self._fetch)
        vectors = fetched[-1] if self.pooling == 'pooled' else pool(fetched[0], arrays[3], self.pooling)
        return [vectors, fetched[0]] if self.token_vectors else [vectors]


def check_pooled(tensors, pooling):
    """Raises `UserError`: the pooled output is wanted of a model that has none."""
    if pooling == 'pooled' and POOLED_WEIGHT not in tensors and 'word_embedding' in tensors:
        raise UserError(
            f'{tensors.path}: has no pooled output (no parameter {POOLED_WEIGHT}). Use --pooling cls, mean or max.'
        )


def write_vectors(folder, embedder, rows, batch_size, normalize=False):
    """Write the vectors of a file to `folder`, as they come: memory is that of a batch, whatever the file's size.

    - `cls_emb.npy` float32 [N, H], one row per text in the order of the file;
    - with token vectors `top_layer_emb.npy` float32 [total tokens, H] and `offsets.npy` int64 [N + 1]: the tokens of
      text i are the rows `offsets[i]` to `offsets[i + 1] - 1`, [CLS] and [SEP] included.

    Args:
        folder: existing folder.
        embedder: `Embedder`.
        rows: `TokenizedSet`.
        batch_size: texts of a batch.
        normalize: whether the vectors of texts get length 1; those of tokens stay as they are.

    Raises:
        OSError: writing failed.
    """
    writers = {name: ArrayWriter(os.path.join(folder, name)) for name in embedder.describe()}
    try:
        batches = embedder.batches(rows, batch_size)
        for indices, vectors, tokens in progress(batches, 'encoding', len(rows), count=lambda batch: len(batch[0])):
            for place, vector in zip(indices, unit_length(vectors) if normalize else vectors, strict=True):
                writers[TEXT_FILE].write(place, vector[None])
            if tokens is not None:
                _write_tokens(writers[TOKEN_FILE], rows.offsets, indices, tokens)
        for writer in writers.values():
            writer.finish()
    finally:
        for writer in writers.values():
            writer.close()
    if embedder.token_vectors:
        np.save(os.path.join(folder, OFFSETS_FILE), np.asarray(rows.offsets, np.int64))


def _write_tokens(writer, offsets, indices, tokens):
    for row, vectors in zip(indices, tokens, strict=True):
        writer.write(offsets[row], vectors[: offsets[row + 1] - offsets[row]])


def check_room(folder, embedder, rows):
    """Refuse what the disk of `folder` cannot hold, before hours are spent on it.

    Raises:
        UserError: with both sizes.
    """
    vectors = len(rows) + (int(rows.offsets[-1]) if embedder.token_vectors else 0)
    needed, free = 4 * vectors * embedder.hidden_size, shutil.disk_usage(folder).free
    log.debug('%d texts, %d tokens: %.1f MB to write', len(rows), rows.offsets[-1], needed / 1e6)
    if needed > free:
        advice = '--top_layer false leaves out the vectors of tokens.' if embedder.token_vectors else ''
        raise bad_input(folder, f'{free / 1e6:.1f} MB free', f'{needed / 1e6:.1f} MB', advice=advice)


def encode_file(args):
    """Do what the flags of `ernie_encoder.py` ask for.

    Raises:
        UserError: anything the user can mend; nothing is written then.
    """
    require_single_process('ernie_encoder.py')
    given, args = args, with_device(args.checked())
    print_arguments(given, log)
    _check_output(args.output_dir)
    source = Source(args.init_pretraining_params, args.ernie_config_path, args.vocab_path, subword=args.subword)
    for line in settings_lines('Model Configuration', source.config.to_dict())[1:]:
        log.debug(line)
    tokenizer, settings = reading_of(source, **{name: getattr(args, name, None) for name in SETTINGS})
    log.debug(', '.join(f'{name}: {value}' for name, value in settings.items()))
    source.check_lengths(settings['max_seq_len'], settings['task_id'])
    embedder = Embedder(
        Session(args.use_cuda, device=_selected_device()),
        source.config,
        args.pooling,
        args.layer,
        args.top_layer,
        settings['task_id'],
    )
    embedder.load(source.tensors, split_list(args.allow_unused))
    reader = ClassifyReader(
        tokenizer,
        settings['max_seq_len'],
        task_kind='predict',
        **text_rules(settings),
        skip_bad_rows=args.skip_bad_rows,
        cache=args.cache,
        columns=ColumnNames.of(args),
        learnt=source.saved.get('column_names'),
    )
    rows = reader.read(args.data_set)
    check_sentence_types(source.config, rows, args.data_set)
    print(f'Device count: 1\nTotal num examples: {len(rows)}', flush=True)
    _write_folder(args, embedder, rows)


def _write_folder(args, embedder, rows):
    target = args.output_dir
    check_room(os.path.dirname(os.path.abspath(target)), embedder, rows)
    try:
        with whole_folder(target) as folder:
            write_vectors(folder, embedder, rows, args.batch_size, args.normalize)
            if args.skip_bad_rows:
                np.save(os.path.join(folder, LINES_FILE), np.asarray(rows.lines, np.int64))
    except OSError as e:
        raise UserError(f'{target}: cannot be written ({e.strerror or e}).') from None
    log.info('%s: vectors of %d texts (%s)', target, len(rows), ', '.join(embedder.describe()))
    for name, content in embedder.describe().items():
        log.debug('%s: %s', os.path.join(target, name), content)


def _check_output(target):
    if os.path.lexists(target):
        raise UserError(f'{target}: exists already. Give an --output_dir that does not exist; nothing is overwritten.')
    check_writable(os.path.dirname(os.path.abspath(target)), '--output_dir')


def reading_of(source, tokenizer=None, do_lower_case=None, **given):
    """How texts become tokens: what is left open is as the checkpoint says, as they were read in its training.

    Args:
        source: `Source`.
        tokenizer, do_lower_case, task_id, for_cn, max_seq_len: what the user gave; None where nothing.
    Returns:
        (tokenizer, dict of `SETTINGS`).
    """
    made = source.tokenizer(tokenizer, do_lower_case)
    names = ('task_id', 'for_cn', 'truncation', 'drop_html_breaks')
    saved = {name: source.saved[name] for name in names if name in source.saved}
    settings = {'tokenizer': type(made).__name__, 'do_lower_case': made.do_lower_case, 'task_id': 0, 'for_cn': False}
    settings |= saved | {'max_seq_len': min(LONGEST, source.config.max_position_embeddings)}
    return made, settings | {name: value for name, value in given.items() if value is not None}


def _selected_device():
    """Number of the GPU in FLAGS_selected_gpus, which launchers set; 0 without."""
    text = os.environ.get('FLAGS_selected_gpus', '').split(',')[0].strip() or '0'  # noqa: SIM112
    if not text.isdecimal():
        raise UsageError(f'FLAGS_selected_gpus: found {text!r}, expected the number of a GPU.')
    return int(text)

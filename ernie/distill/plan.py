"""The plan of a distillation: teacher, losses, where the student begins; and what must be the same in both models."""

import os

from ernie.config import ErnieConfig
from ernie.distill.layer_tasks import RECORD
from ernie.distill.teacher import renamed
from ernie.distill.terms import evenly, fitted, parse_layers, terms_of
from ernie.model.encoders import ERNIE
from ernie.run.start import advice_to_start_over
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

_POOLER = 'pooled_fc.w_0'
_SHARE = 4  # the student has one layer for so many of the teacher, where nothing else is said


class Plan:
    """What a run of `ernie distill` is about.

    Args:
        args: `DistillSettings`.
        teacher: `Teacher`.

    Attributes:
        terms: `Terms`, fitted once `fit` has seen the student.
        layers: of the teacher or of --model that the student begins with, from 1; () for all.
        has_pooler: whether the student has parameters for a pooled output, known after `fit`.
        losses: list of the values of the losses in the graph that was built last, in the order of `terms.weights`.
        of_texts: whether texts without labels are read, not the rows of the teacher's task.
    """

    def __init__(self, args, teacher):
        self.teacher, self.terms = teacher, terms_of(args)
        self.has_pooler, self.of_texts, self.losses = True, False, []
        from_teacher = not (args.model or args.init_pretraining_params or args.ernie_config_path)
        self.layers = parse_layers(args.student_layers) if args.student_layers else ()
        if from_teacher and not self.layers and teacher.config.encoder == ERNIE:
            count = teacher.config.num_hidden_layers
            self.layers = tuple(layer for layer, _ in evenly(count, max(count // _SHARE, 1)))
        if not self.terms.of_layers_alone:
            teacher.require_task()
        if self.terms.temperature != 1 and teacher.saved.get('kind') == 'regression':
            raise UsageError(f'--temperature {self.terms.temperature:g}: numbers have none. Leave it out.')

    def tell(self, losses):
        """A graph has been built, and these are its losses."""
        self.losses = losses

    def fit(self, source):
        """Complete the terms. source: of the student. Raises `UsageError`: the two models do not allow them."""
        self.terms = fitted(self.terms, self.teacher.config, source.config)
        of_ernie = source.config.encoder == ERNIE and source.tensors is not None
        self.has_pooler = not of_ernie or _POOLER in source.tensors

    def record(self):
        """JSON-able dict: what a student has learnt from whom."""
        terms = self.terms
        return {
            'teacher': self.teacher.path,
            'teacher_digest': self.teacher.digest,
            'loss': terms.weights,
            'temperature': terms.temperature,
            'layer_pairs': [list(pair) for pair in terms.pairs],
            'relation_heads': terms.relation_heads,
            'projection': terms.projection,
            'student_layers': list(self.layers),
        }

    def take_layers(self, source):
        """Have a `Source` give the layers that the student begins with. Raises `UsageError`: it has no such layers."""
        config = source.config
        if not self.layers:
            return
        if config.encoder != ERNIE or self.layers[-1] > config.num_hidden_layers:
            has = f'{config.num_hidden_layers} layers'
            if config.encoder != ERNIE:
                has = f'an encoder of the kind {config.encoder}, without such layers'
            raise UsageError(f'--student_layers {",".join(map(str, self.layers))}: {source.path} has {has}.')
        numbers = {old - 1: new for new, old in enumerate(self.layers)}
        source.config = ErnieConfig({**config.to_dict(), 'num_hidden_layers': len(self.layers)})
        source.tensors = renamed(source.tensors, dict(_names(source.tensors, numbers)))

    # ------------------------------------------------------------ what must be the same

    def check_checkpoint(self, folder):
        """Where a run goes on. Raises `UserError`: its checkpoint has learnt otherwise."""
        path = os.path.join(folder, RECORD)
        if not os.path.lexists(path):
            raise bad_input(folder, f'a checkpoint without {RECORD}', 'one of ernie distill')
        found = read_json_object(path, 'what a student has learnt')
        for name, value in self.record().items():
            if name != 'teacher' and found.get(name) != value:
                what = 'another teacher' if name == 'teacher_digest' else f'{name} {quoted(found.get(name))}'
                expected = f'{self.teacher.path}' if name == 'teacher_digest' else quoted(value)
                raise bad_input(path, what, expected, advice=advice_to_start_over(folder))

    def check_start(self, source):
        """Raises `UserError`: the model that the student begins as was trained for other labels than the teacher's."""
        for name in () if self.terms.of_layers_alone else ('task', 'kind', 'labels'):
            ours, theirs = source.saved.get(name), self.teacher.saved.get(name)
            if ours is not None and theirs is not None and ours != theirs:
                expected = f'{quoted(theirs)}, as the teacher {self.teacher.path}'
                raise bad_input(source.path, f'{name} {quoted(ours)}', expected)

    def check_tokenizer(self, tokenizer, by_characters):
        """Raises `UserError`: the student reads other token ids than the teacher. by_characters: of the task."""
        source = self.teacher.source
        theirs = source.tokenizer(by_characters=by_characters)
        if tokenizer.vocab != theirs.vocab:
            raise bad_input(
                tokenizer.vocab_path,
                'another vocabulary',
                f'that of the teacher, {source.vocab_path}: both read the same token ids',
                advice='A student of words learns from answers: see distill/README.md.',
            )
        if tokenizer.settings != theirs.settings or tokenizer.fingerprint() != theirs.fingerprint():
            found, expected = (_settings_text(t) for t in (tokenizer, theirs))
            raise UserError(f'the student cuts texts by {found}, the teacher by {expected}: expected the same.')

    def check_labels(self, names):
        """Raises `UserError`: the classes of the run are not those of the teacher, in their order."""
        theirs = self.teacher.saved.get('labels')
        if names is not None and theirs is not None and list(names) != list(theirs):
            raise bad_input(
                self.teacher.path,
                f'a teacher with the labels {quoted(", ".join(map(str, theirs)))}',
                f'those of --label_map_config: {quoted(", ".join(map(str, names)))}',
            )

    def check_length(self, max_seq_len):
        """Raises `UsageError`: the teacher cannot read so many tokens."""
        positions = self.teacher.config.max_position_embeddings
        if max_seq_len > positions:
            raise UsageError(f'--max_seq_len {max_seq_len}: the teacher has {positions} positions.')

    def describe(self):
        """Pairs (key, text) for the start of a run."""
        terms, teacher = self.terms, self.teacher
        size = f'{teacher.config.num_hidden_layers} layers of {teacher.config.hidden_size}'
        words = [', '.join(f'{name} {weight:g}' for name, weight in terms.weights.items())]
        if terms.compares_layers:
            words.append('layers ' + ', '.join(f'{t}-{s}' for t, s in terms.pairs))
        if 'relation' in terms.weights:
            words.append(f'{terms.relation_heads} relation heads in {terms.pairs[-1][0]}-{terms.pairs[-1][1]}')
        if terms.projection:
            words.append('a learned projection')
        if 'logits' in terms.weights:
            words.append(f'temperature {terms.temperature:g}')
        begins = [('begins as', f'layers {", ".join(map(str, self.layers))}')] if self.layers else []
        return [('teacher', f'{teacher.path}: {size}'), ('loss', '; '.join(words)), *begins]


def _names(tensors, numbers):
    """Yields (new name, name) of the tensors that are kept. numbers: dict number of a layer -> its new number."""
    for name in tensors:
        if not name.startswith('encoder_layer_'):
            yield name, name
            continue
        number, _, rest = name.removeprefix('encoder_layer_').partition('_')
        if number.isdigit() and int(number) in numbers:
            yield f'encoder_layer_{numbers[int(number)]}_{rest}', name


def _settings_text(tokenizer):
    name = type(tokenizer).__name__
    return f'{name}, do_lower_case {str(tokenizer.do_lower_case).lower()}'

"""The student: its graph, its data, its training; labelled batches and batches of the teacher in turn."""

import os

import numpy as np

import propeller.paddle as propeller
from distill.command_line import adds_special, teacher_cutter
from distill.student_folder import StudentExporter
from ernie.distill.answer_clock import AnswerClock, asked
from ernie.distill.answered import AnsweredFiles
from ernie.distill.mixing import alternate, by_length
from ernie.distill.online import ServedTeacher
from ernie.model.encoders import build_encoder
from ernie.model.transformer_encoder import linear
from ernie.tokenizers.vocabulary import load_vocab
from ernie.utils.data import build_1_pair
from example.command_line import check_inputs
from example.encoder import EncoderModel, train_for_best
from propeller.data import LabelColumn, TextColumn
from propeller.graph import F

_CERTAIN = 9999.0  # softmax makes a one of it
_AHEAD = 100  # batches that are labelled by the server before they are needed


class Student(EncoderModel):
    """Feature: ids int64 [B, T], 0 for padding. The label is float32 [B, C]: logits of the teacher, or of certainty."""

    def forward(self, features):
        """-> [B, C]: logits; in PREDICT probabilities."""
        (ids,) = features
        config, mask = self.config.ernie, (ids != 0).astype('float32')
        pooled = build_encoder([ids, ids * 0, ids * 0, mask], config, self.training).get_pooled_output()
        logits = linear(pooled, 'pooler_fc', self.config.num_label, config.initializer_range)
        return F.softmax(logits) if self.mode == propeller.RunMode.PREDICT else logits

    def loss(self, predictions, label):
        """Cross-entropy with the softmax of the label vectors, mean over the batch."""
        return -(F.softmax(label) * F.log_softmax(predictions)).sum(-1).mean()

    def metrics(self, predictions, label):
        label, predicted = (value.argmax(-1, keepdim=True) for value in (label, predictions))
        return {'acc': propeller.metrics.Acc(label, predicted)}


class Data:
    """The data sets of a `Setup`: batches of [ids int64 [B, T], label vectors float32 [B, C]]."""

    def __init__(self, setup):
        self.setup, self.args, self.classes = setup, setup.args, setup.params.num_label
        self._seed = self.args.seed or 0
        self._text = setup.text_column('text')

    def labelled(self, name, folder, training):
        """Of files `segmented text<TAB>label`. name: of the data set."""
        label = LabelColumn('label', vocab_dict={str(label): label for label in range(self.classes)})
        rows = self._rows([self._text, label], name, folder, training)
        rows = rows.map(lambda text, label: (self._ids(text), self._certain(int(label))))
        return self._batches(self._grouped(rows) if training else rows)

    def taught(self, folder, clock):
        """Of files `segmented text<TAB>text for the teacher`, which a server labels ahead. clock: `AnswerClock`."""
        args = self.args
        vocab = load_vocab(args.teacher_vocab_file)
        cut = teacher_cutter(args, vocab)
        text = TextColumn('teacher', unk_id=vocab['[UNK]'], vocab_dict=vocab, tokenizer=cut)
        rows = self._rows([self._text, text], 'unsup', folder, True)
        pad, cls, sep = (vocab[name] for name in ('[PAD]', '[CLS]', '[SEP]'))

        def example(text, teacher):
            return self._ids(text), build_1_pair(teacher, args.teacher_max_seqlen, cls, sep)[0]

        batches = self._grouped(rows.map(example)).padded_batch(self.setup.params.batch_size, (0, pad))
        return self.described(clock.without_times(batches.map(_Asked(args, self.classes)).buffered(_AHEAD)))

    def answered(self, folder, answers):
        """Of files `segmented text<TAB>...` and `answers` to them, a folder of `distill/teacher_outputs.py`."""
        names = tuple(filter(None, self.args.teacher_classes.split(',')))
        files = AnsweredFiles(folder, answers, self._text, self.classes, names)
        hard = self.args.teacher_labels == 'hard'
        rows = files.dataset(self._seed).map(
            lambda text, logits, label: (self._ids(text), self._certain(int(label)) if hard else logits)
        )
        return self._batches(self._grouped(rows))

    def _rows(self, columns, name, folder, training):
        skip = self.args.skip_bad_rows
        return self.setup.columns(columns).build_dataset(
            name, data_dir=folder, shuffle=training, repeat=training, seed=self._seed, skip_bad_rows=skip
        )

    def _ids(self, text):
        if not adds_special(self.setup.params.ernie):
            return text[: self.args.max_seqlen]
        return build_1_pair(text, self.args.max_seqlen, *self.setup.special('CLS', 'SEP'))[0]

    def _certain(self, label):
        vector = np.zeros(self.classes, np.float32)
        vector[label] = _CERTAIN
        return vector

    def _grouped(self, rows):
        """The rows in an order that wastes little; a bag of words computes next to nothing for padding."""
        if not adds_special(self.setup.params.ernie):
            return rows
        return by_length(rows, self.setup.params.batch_size, self._seed)

    def _batches(self, rows):
        return self.described(rows.padded_batch(self.setup.params.batch_size, (0, 0.0)))

    def described(self, batches):
        """The same batches, which say what they are."""
        batches.data_shapes, batches.data_types = [[-1, -1], [-1, self.classes]], ['int64', 'float32']
        return batches


class _Asked:
    """Ids of the student and of the teacher -> ids of the student, the teacher's logits, and the times of `asked`."""

    def __init__(self, args, classes):
        self._args, self._classes, self._teacher = args, classes, None

    def __call__(self, ids, teacher_ids):
        args = self._args
        if self._teacher is None:  # in the process that makes batches ahead
            self._teacher = ServedTeacher(
                args.teacher_host,
                self._classes,
                args.teacher_output,
                args.server_batch_size,
                args.num_coroutine,
                args.teacher_timeout,
                args.teacher_retries,
            )
        teacher_ids = teacher_ids[..., None]
        answer, times = asked(lambda: self._teacher(teacher_ids, np.zeros_like(teacher_ids)))
        return [ids, answer, times]


def train(setup):
    """Train as `setup` says. Returns the best accuracy on the dev set; None in processes beside the first of a job."""
    args, data = setup.args, Data(setup)
    folder, answers, hooks = args.unsupervise_data_dir, args.teacher_outputs, []
    if args.teacher_host:
        hooks = [AnswerClock()]
        taught = data.taught(folder, *hooks)
    else:
        taught = data.answered(folder, answers) if answers else data.labelled('unsup', folder, True)
    train_set = data.described(alternate(data.labelled('train', setup.folder('train'), True), taught))
    dev_set = data.labelled('dev', setup.folder('dev'), False)
    check_inputs(setup)
    best = StudentExporter(os.path.join(setup.run_config.model_dir, 'best'), setup)
    found = train_for_best(setup, Student, train_set, dev_set, best, seed=args.seed, train_hooks=hooks)
    return found and found['eval']['acc']

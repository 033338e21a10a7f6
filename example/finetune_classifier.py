"""Classifies texts: fine-tunes an encoder on `text<TAB>label`, or predicts the class of each line of standard input."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np

import propeller.paddle as propeller
from ernie.model.heads import head
from ernie.utils.data import build_1_pair
from example.command_line import add_subword_flags, make_parser, program, read_setup
from example.encoder import EncoderModel, predictions, train
from propeller.data import LabelColumn
from propeller.graph import F

ROW, NUMBER = [-1, -1, 1], [-1, 1]  # shapes in a batch
DATA = """\
data: files without a header, in UTF-8:
  DATA_DIR/train/*, DATA_DIR/dev/*   text<TAB>label, the label a number from 0 to num_label - 1
  standard input (--do_predict)      text
output: dev_acc<TAB>accuracy of the best evaluation; with --do_predict the class of each line
"""


class Classifier(EncoderModel):
    """Features: token ids, sentence types, both int64 [B, T, 1]. The label is int64 [B, 1]."""

    def forward(self, features):
        """-> [B, num_label]: logits; in PREDICT probabilities."""
        ids, types = features
        mask = (ids != self.config.pad_id).astype('float32').squeeze(-1)
        pooled = self.encode(ids, types, mask).get_pooled_output()
        logits = head(pooled, 'cls_out_w', 'cls_out_b', self.config.num_label, self.training)
        return F.softmax(logits) if self.mode == propeller.RunMode.PREDICT else logits

    def loss(self, predictions, label):
        return F.cross_entropy(predictions, label.squeeze(-1))

    def metrics(self, predictions, label):
        return {'acc': propeller.metrics.Acc(label, predictions.argmax(-1, keepdim=True))}


def build_parser():
    """The flags."""
    parser = make_parser('finetune_classifier.py', __doc__, DATA)
    add_subword_flags(parser)
    return parser


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    setup = read_setup('finetune_classifier', build_parser(), argv)
    pad, cls, sep = setup.special('PAD', 'CLS', 'SEP')
    setup.params.pad_id = pad
    text = setup.text_column('text')

    def example(text, *label):
        return *build_1_pair(text, setup.args.max_seqlen, cls, sep), *label

    if setup.args.do_predict:
        texts = setup.columns([text]).build_dataset_from_stdin('predict').map(example)
        for (probabilities,) in predictions(setup, Classifier, setup.batches(texts, (pad, 0), [ROW, ROW])):
            print(int(np.argmax(probabilities)))
        return
    # A dictionary of the labels refuses all others, with file and line.
    labels = {str(label): label for label in range(setup.params.num_label)}
    columns = setup.columns([text, LabelColumn('label', vocab_dict=labels)])
    train_set, dev_set = (
        setup.batches(setup.read(columns, name, name == 'train').map(example), (pad, 0, 0), [ROW, ROW, NUMBER])
        for name in ('train', 'dev')
    )
    best = train(setup, Classifier, train_set, dev_set, is_better)
    if best:
        print(f'dev_acc\t{best["eval"]["acc"]:.5f}')


def is_better(old, new):
    """Whether the accuracy has grown."""
    return new['eval']['acc'] > old['eval']['acc']


if __name__ == '__main__':
    with program():
        main()

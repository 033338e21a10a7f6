"""Ranks the texts of each question: fine-tunes an encoder on `qid<TAB>text<TAB>text<TAB>label`, or scores pairs."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np

import propeller.paddle as propeller
from ernie.model.heads import head
from ernie.utils.data import build_2_pair
from example.command_line import add_subword_flags, make_parser, program, read_setup
from example.encoder import EncoderModel, predictions, train
from propeller.data import LabelColumn
from propeller.errors import UserError
from propeller.graph import F, paddle

ROW, NUMBER = [-1, -1, 1], [-1, 1]  # shapes in a batch
DATA = """\
data: files without a header, in UTF-8:
  DATA_DIR/{train,dev,test}/*     qid<TAB>text<TAB>text<TAB>label, qid a number, label 1 for a right answer, else 0;
                                  test may be missing
  standard input (--do_predict)   qid<TAB>text<TAB>text
output: dev_mrr, test_mrr, dev_f1, test_f1 of the best evaluation, each <TAB>number; with --do_predict
  qid<TAB>class<TAB>probability of 0<TAB>probability of 1 for each line
"""


class Ranker(EncoderModel):
    """Features: token ids, sentence types, both int64 [B, T, 1], and qid, int64 [B, 1]. The label is int64 [B, 1]."""

    def forward(self, features):
        """-> [qid [B, 1], logits [B, 2]]; in PREDICT probabilities."""
        ids, types, qid = features
        mask = (ids != self.config.pad_id).astype('float32').squeeze(-1)
        pooled = self.encode(ids, types, mask).get_pooled_output()
        logits = head(pooled, 'cls_out_w', 'cls_out_b', self.config.num_label, self.training)
        # A copy: the outputs of an exported model are others than its inputs.
        return [paddle.assign(qid), F.softmax(logits) if self.mode == propeller.RunMode.PREDICT else logits]

    def loss(self, predictions, label):
        return F.cross_entropy(predictions[1], label.squeeze(-1))

    def metrics(self, predictions, label):
        qid, logits = predictions
        right = F.softmax(logits)[:, 1:]
        return {
            'mrr': propeller.metrics.Mrr(qid, label, right),
            'f1': propeller.metrics.F1(label, logits.argmax(-1, keepdim=True)),
        }


def build_parser():
    """The flags."""
    parser = make_parser('finetune_ranker.py', __doc__, DATA)
    add_subword_flags(parser)
    parser.add_argument('--predict_model', help='checkpoint folder to predict with (default: the last of model_dir)')
    return parser


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    setup = read_setup('finetune_ranker', build_parser(), argv)
    if setup.params.num_label != 2:
        raise UserError(f'--hparam num_label: found {setup.params.num_label}, expected 2: right answers and others.')
    pad, cls, sep = setup.special('PAD', 'CLS', 'SEP')
    setup.params.pad_id = pad
    given = [LabelColumn('qid'), setup.text_column('text_a'), setup.text_column('text_b')]

    def example(qid, text_a, text_b, *label):
        return *build_2_pair(text_a, text_b, setup.args.max_seqlen, cls, sep), qid, *label

    if setup.args.do_predict:
        pairs = setup.columns(given).build_dataset_from_stdin('predict').map(example)
        batches = setup.batches(pairs, (pad, 0, 0), [ROW, ROW, NUMBER])
        for (qid,), scores in predictions(setup, Ranker, batches, setup.args.predict_model):
            print(qid, int(np.argmax(scores)), *(f'{score:.5f}' for score in scores), sep='\t')
        return
    columns = setup.columns([*given, LabelColumn('label', vocab_dict={'0': 0, '1': 1})])
    train_set, *eval_sets = (
        setup.batches(
            setup.read(columns, name, name == 'train').map(example), (pad, 0, 0, 0), [ROW, ROW, NUMBER, NUMBER]
        )
        for name in ('train', *setup.eval_names())
    )
    eval_sets = dict(zip(setup.eval_names(), eval_sets, strict=True))
    best = train(setup, Ranker, train_set, eval_sets, is_better)
    for metric in ('mrr', 'f1') if best else ():
        for name in eval_sets:
            print(f'{name}_{metric}\t{best[name][metric]:.5f}')


def is_better(old, new):
    """Whether the F1 of the dev set has grown."""
    return new['dev']['f1'] > old['dev']['f1']


if __name__ == '__main__':
    with program():
        main()

"""Finds names: fine-tunes an encoder on tokens with labels, or labels the tokens of each line of standard input.

Tokens and labels are joined by the byte U+0002 in their cells.
"""

import collections
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np

import propeller.paddle as propeller
from ernie.model.heads import head
from example.command_line import make_parser, program, read_setup
from example.encoder import EncoderModel, positions, predictions, train
from example.tagging import LabelsColumn, TokenChunkF1, TokensColumn, check_rows, same_count, tagged
from propeller import graph
from propeller.graph import F, paddle

ROW, NUMBER = [-1, -1, 1], [-1, 1]  # shapes in a batch
LABELS = ['B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC', 'O']
DATA = f"""\
data: files without a header, in UTF-8; tokens and labels are joined by the byte U+0002 in their cells:
  DATA_DIR/{{train,dev,test}}/*     tokens<TAB>labels, labels of {' '.join(LABELS)}; test may be missing
  standard input (--do_predict)   tokens
output: dev_f1, test_f1 of the chunks at the best evaluation, each <TAB>number; with --do_predict the labels of each
  line joined by spaces, one for each token
"""


class Tagger(EncoderModel):
    """Features: token ids, sentence types, both int64 [B, T, 1], and lengths, int64 [B, 1], [CLS] and [SEP] included.

    The label is int64 [B, T, 1], negative where nothing is learnt: on [CLS], [SEP], padding, and pieces that continue
    a token.
    """

    def forward(self, features):
        """-> logits [B, T, labels]; in PREDICT the ids of the labels, int64 [B, T]."""
        ids, types, self.lengths = features
        mask = (positions(ids.squeeze(-1)) < self.lengths).astype('float32')
        output = self.encode(ids, types, mask).get_sequence_output()
        # With dropout before the head, as in run_sequence_labeling.py; 2019's example had none, and a lower F1.
        logits = head(output, 'cls_seq_label_out_w', 'cls_seq_label_out_b', len(LABELS), self.training)
        return logits.argmax(-1) if self.mode == propeller.RunMode.PREDICT else logits

    def loss(self, predictions, label):
        label = label.squeeze(-1)
        counts = (label >= 0).astype('float32')
        graph.set_loss_weight(counts.sum())
        losses = F.cross_entropy(predictions, paddle.clip(label, min=0), reduction='none')
        return (losses * counts).sum() / paddle.clip(counts.sum(), min=1.0)

    def metrics(self, predictions, label):
        return {'f1': TokenChunkF1(label, predictions.argmax(-1), self.lengths, len(LABELS))}


def build_parser():
    """The flags."""
    parser = make_parser('finetune_ner.py', __doc__, DATA)
    parser.add_argument('--use_sentence_piece_vocab', action='store_true', help="the vocabulary is ERNIE tiny's")
    return parser


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    setup = read_setup('finetune_ner', build_parser(), argv, needed=())
    tokens = TokensColumn('tokens', setup.vocab, setup.cutter)
    if setup.args.do_predict:
        label_lines(setup, tokens)
        return
    columns, most = setup.columns([tokens, LabelsColumn('labels', LABELS)]), setup.args.max_seqlen
    pad, cls, sep = setup.special('PAD', 'CLS', 'SEP')

    def batches(name):
        left_out = check_rows(setup.folder(name), most, setup.args.skip_bad_rows)
        rows = setup.read(columns, name, name == 'train')
        if left_out:  # only then: after a filter, a training that resumes reads all earlier rows once more
            rows = rows.filter(same_count)
        examples = rows.map(lambda packed, labels: tagged(packed, labels, most, cls, sep))
        return setup.batches(examples, (pad, 0, 0, -1), [ROW, ROW, NUMBER, ROW])

    eval_sets = {name: batches(name) for name in setup.eval_names()}
    best = train(setup, Tagger, batches('train'), eval_sets, is_better, without=['pooled_fc'])
    for name in eval_sets if best else ():
        for metric in (metric for metric in best[name] if metric != 'loss'):
            print(f'{name}_{metric}\t{best[name][metric]:.5f}')


def is_better(old, new):
    """Whether the F1 of the dev set has grown."""
    return new['dev']['f1'] > old['dev']['f1']


def label_lines(setup, tokens):
    """Print the labels of the tokens in each line of standard input. tokens: `TokensColumn`."""
    pad, cls, sep = setup.special('PAD', 'CLS', 'SEP')
    most, waiting, cut = setup.args.max_seqlen, collections.deque(), 0  # waiting: where the tokens of each line begin

    def example(packed):
        waiting.append(np.flatnonzero(packed >= 0) + 1)  # behind [CLS]
        return tagged(packed, None, most, cls, sep)[:3]

    lines = setup.columns([tokens]).build_dataset_from_stdin('predict').map(example)
    for (found,) in predictions(setup, Tagger, setup.batches(lines, (pad, 0, 0), [ROW, ROW, NUMBER])):
        starts = waiting.popleft()
        print(*(LABELS[found[start]] if start < most - 1 else 'O' for start in starts))
        cut += np.count_nonzero(starts >= most - 1)
    if cut:
        propeller.log.warning('%d tokens beyond --max_seqlen %d are labelled O without being looked at', cut, most)


if __name__ == '__main__':
    with program():
        main()

"""Fine-tunes ELMo, or another module that reads words, on ChnSentiCorp: PaddleHub's `demo/elmo` of 2019."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from example.elmo.network import classifier, data_set, flags, open_module, run_config
from propeller.errors import one_line_errors

BATCH_SIZE, EPOCHS = 32, 3


def build_parser():
    """The flags."""
    parser = flags('elmo_finetune.py', __doc__, BATCH_SIZE)
    parser.add_argument('--num_epoch', type=int, default=EPOCHS, help='passes over the training texts')
    return parser


def main(argv=None):
    """The program."""
    args = build_parser().parse_args(argv)
    dataset, config = data_set(args.data_dir), run_config(args, args.num_epoch)
    classifier(dataset, config, args.net, open_module(args.module)).finetune_and_eval()


if __name__ == '__main__':
    with one_line_errors():
        main()

"""Predicts reviews with the best model of a training of elmo_finetune.py: PaddleHub's `demo/elmo` of 2019."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np

from example.elmo.network import classifier, data_set, flags, open_module, run_config
from propeller.errors import UsageError, one_line_errors

# (review, its class)
REVIEWS = (
    ('房间很干净，早餐丰富，服务员也热情，下次还会来住', 1),
    ('电脑用了三天就死机，售后一直推脱，非常失望', 0),
    ('离地铁站走路五分钟，晚上很安静，性价比不错', 1),
    ('隔音太差，半夜还能听到走廊里的说话声，没睡好', 0),
    ('书的内容空洞，翻了几页就看不下去了', 0),
)


def build_parser():
    """The flags."""
    return flags('predict.py', __doc__, 1)


def main(argv=None):
    """The program: prints `{text}\\tpredict={class}` for each review, and the accuracy."""
    args = build_parser().parse_args(argv)
    if args.checkpoint_dir is None:
        raise UsageError('--checkpoint_dir is missing: the folder of the training.')
    task = classifier(data_set(args.data_dir), run_config(args, 1), args.net, open_module(args.module))
    states = task.predict(data=[[text] for text, _ in REVIEWS])
    classes = [c for state in states for c in np.argmax(state.run_results, axis=2)[0]]
    for (text, _), found in zip(REVIEWS, classes, strict=True):
        print(f'{text}\tpredict={found}')
    print(f'accuracy={np.mean([found == label for found, (_, label) in zip(classes, REVIEWS, strict=True)]):.4f}')


if __name__ == '__main__':
    with one_line_errors():
        main()

"""The flags of the examples are those of 2019, and one more."""

import argparse

import pytest

from example import finetune_classifier, finetune_ner, finetune_ranker

ALL = {
    'run_config': None,
    'hparam': None,
    'max_seqlen': 128,
    'data_dir': None,
    'vocab_file': None,
    'do_predict': False,
    'warm_start_from': None,
    'skip_bad_rows': False,
}
SUBWORD = {'sentence_piece_model': None, 'word_dict': None}


@pytest.mark.parametrize(
    ('program', 'more'),
    [
        (finetune_classifier, SUBWORD),
        (finetune_ranker, {**SUBWORD, 'predict_model': None}),
        (finetune_ner, {'use_sentence_piece_vocab': False}),
    ],
)
def test_flags_and_defaults(program, more):
    parser = program.build_parser()
    # What is suppressed is for the launcher.
    found = {a.dest: a.default for a in parser._actions if a.default != argparse.SUPPRESS}
    assert found == {**ALL, **more}
    assert {a.dest for a in parser._actions if a.required} == {'data_dir', 'vocab_file'}
    text = parser.format_help()
    assert 'DATA_DIR/' in text and program.__doc__.splitlines()[0] in text

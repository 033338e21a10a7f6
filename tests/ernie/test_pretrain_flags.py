from ernie.programs import PRETRAIN

OF_2019 = {
    'ernie_config_path': './config/ernie_config.json',
    'init_checkpoint': None,
    'checkpoints': 'checkpoints',
    'weight_sharing': True,
    'generate_neg_sample': False,
    'epoch': 100,
    'learning_rate': 1e-4,
    'lr_scheduler': 'linear_warmup_decay',
    'weight_decay': 0.01,
    'num_train_steps': 1000000,
    'warmup_steps': 5000,
    'save_steps': 10000,
    'validation_steps': 1000,
    'use_fp16': False,
    'use_dynamic_loss_scaling': True,
    'init_loss_scaling': 102400,
    'incr_every_n_steps': 100,
    'decr_every_n_nan_or_inf': 2,
    'incr_ratio': 2.0,
    'decr_ratio': 0.8,
    'skip_steps': 10,
    'verbose': False,
    'train_filelist': '',
    'valid_filelist': '',
    'test_filelist': '',
    'vocab_path': './config/vocab.txt',
    'max_seq_len': 512,
    'batch_size': 16,
    'in_tokens': False,
    'is_distributed': False,
    'use_cuda': None,
    'use_fast_executor': False,
    'do_test': False,
}
SINCE_2019 = {
    'tasks': 'knowledge_masking,next_sentence',
    'schedule': None,
    'init_pretraining_params': None,
    'allow_missing': '',
    'allow_unused': '',
    'resume': False,
    'overwrite_checkpoints': False,
    'max_checkpoints': 0,
    'keep_best': False,
    'early_stop': -1,
    'random_seed': 1,
    'gradient_accumulation_steps': 1,
    'precision': 'auto',
    'fused_ops': 'auto',
    'recompute': False,
    'masking_rate': 0.15,
    'max_ngram': 1,
    'at_least_one': False,
    'whole_unit': False,
    'buffer_size': 10000,
    'log_dir': None,
    'cpu_threads': None,
    'log_level': None,
}


def test_the_flags_and_their_defaults_are_these():
    values = vars(PRETRAIN.build_parser('train.py').parse_args([]))
    assert values.pop('given') == frozenset()
    assert values == OF_2019 | SINCE_2019


def test_every_flag_of_2019_is_read_as_then():
    parser = PRETRAIN.build_parser('train.py')
    for name, default in (OF_2019 | {'use_cuda': True}).items():
        text = {bool: 'True', float: '0.5', int: '7'}.get(type(default), 'x')
        value = vars(parser.parse_args([f'--{name}', text]))[name]
        assert value == {bool: True, float: 0.5, int: 7}.get(type(default), 'x'), name

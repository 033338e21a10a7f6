// oneDNN's objects, owned: each is given back when it goes out of scope, and each failure is an exception.
#pragma once

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include "onednn.h"

namespace ops::onednn {

inline void check(dnnl_status_t status, const char* what) {
  if (status != 0) throw std::runtime_error(std::string("oneDNN: ") + what + " failed, status " + std::to_string(status));
}

template <typename T, dnnl_status_t (*destroy)(T*)>
struct Destroyer {
  void operator()(T* object) const { destroy(object); }
};
template <typename T, dnnl_status_t (*destroy)(T*)>
using Owned = std::unique_ptr<T, Destroyer<T, destroy>>;

using Description = Owned<dnnl_memory_desc, dnnl_memory_desc_destroy>;
using Memory = Owned<dnnl_memory, dnnl_memory_destroy>;
using Stream = Owned<dnnl_stream, dnnl_stream_destroy>;
using Attributes = Owned<dnnl_primitive_attr, dnnl_primitive_attr_destroy>;
using Plan = Owned<dnnl_primitive_desc, dnnl_primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive, dnnl_primitive_destroy>;

// The processor; one for all operators.
inline dnnl_engine_t engine() {
  static dnnl_engine_t const value = [] {
    dnnl_engine_t made = nullptr;
    check(dnnl_engine_create(&made, kCpu, 0), "engine_create");
    return made;
  }();
  return value;
}

// The stream of the calling thread.
inline dnnl_stream_t stream() {
  thread_local const Stream value([] {
    dnnl_stream_t made = nullptr;
    check(dnnl_stream_create(&made, engine(), kInOrder), "stream_create");
    return made;
  }());
  return value.get();
}

// Rows of `columns` elements, `stride` elements from one to the next.
inline Description matrix(int64_t rows, int64_t columns, int type, int64_t stride) {
  const std::array<int64_t, 2> dims{rows, columns}, strides{stride, 1};
  dnnl_memory_desc_t made = nullptr;
  check(dnnl_memory_desc_create_with_strides(&made, 2, dims.data(), type, strides.data()), "memory_desc");
  return Description(made);
}

// A bfloat16 matrix in the order of `ops::pack`.
inline Description packed_matrix(int64_t rows, int64_t columns) {
  const std::array<int64_t, 2> dims{rows, columns};
  dnnl_memory_desc_t made = nullptr;
  check(dnnl_memory_desc_create_with_tag(&made, 2, dims.data(), kBfloat16, kPackedTag), "memory_desc");
  return Description(made);
}

// `data` seen as `description` says.
inline Memory memory(const dnnl_memory_desc* description, const void* data) {
  dnnl_memory_t made = nullptr;
  check(dnnl_memory_create(&made, description, engine(), const_cast<void*>(data)), "memory_create");
  return Memory(made);
}

// `memory` of other data.
inline void point(const Memory& memory, const void* data) {
  check(dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(data)), "memory_set_data_handle");
}

// Intermediate results of a primitive are kept by who runs it, so that several threads may run it at once.
inline Attributes user_scratchpad() {
  dnnl_primitive_attr_t made = nullptr;
  check(dnnl_primitive_attr_create(&made), "attr_create");
  Attributes attributes(made);
  check(dnnl_primitive_attr_set_scratchpad_mode(made, kUserScratchpad), "set_scratchpad_mode");
  return attributes;
}

}  // namespace ops::onednn

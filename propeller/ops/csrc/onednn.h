// What these operators call of oneDNN's C interface. Paddle's wheel brings the library (libdnnl.so.3), and of its headers
// only those that include others, which are missing. The binary interface is the same for every oneDNN 3.x (checked: 3.2,
// 3.6, 3.13), so the few declarations stand here, and no package is needed that might hold another version than the one
// that is loaded.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef struct dnnl_engine* dnnl_engine_t;
typedef struct dnnl_stream* dnnl_stream_t;
typedef struct dnnl_memory* dnnl_memory_t;
typedef struct dnnl_memory_desc* dnnl_memory_desc_t;
typedef struct dnnl_primitive* dnnl_primitive_t;
typedef struct dnnl_primitive_desc* dnnl_primitive_desc_t;
typedef struct dnnl_primitive_attr* dnnl_primitive_attr_t;

typedef int dnnl_status_t;  // 0: success
typedef struct {
  int arg;
  dnnl_memory_t memory;
} dnnl_exec_arg_t;
typedef struct {
  int major, minor, patch;
  const char* hash;
  unsigned cpu_runtime, gpu_runtime;
} dnnl_version_t;

dnnl_status_t dnnl_engine_create(dnnl_engine_t*, int kind, size_t index);
dnnl_status_t dnnl_stream_create(dnnl_stream_t*, dnnl_engine_t, unsigned flags);
dnnl_status_t dnnl_stream_destroy(dnnl_stream_t);
dnnl_status_t dnnl_memory_desc_create_with_strides(dnnl_memory_desc_t*, int ndims, const int64_t* dims, int type,
                                                   const int64_t* strides);
dnnl_status_t dnnl_memory_desc_create_with_tag(dnnl_memory_desc_t*, int ndims, const int64_t* dims, int type, int tag);
dnnl_status_t dnnl_memory_desc_destroy(dnnl_memory_desc_t);
size_t dnnl_memory_desc_get_size(const struct dnnl_memory_desc*);
dnnl_status_t dnnl_memory_create(dnnl_memory_t*, const struct dnnl_memory_desc*, dnnl_engine_t, void* handle);
dnnl_status_t dnnl_memory_set_data_handle(dnnl_memory_t, void* handle);
dnnl_status_t dnnl_memory_destroy(dnnl_memory_t);
dnnl_status_t dnnl_primitive_attr_create(dnnl_primitive_attr_t*);
dnnl_status_t dnnl_primitive_attr_destroy(dnnl_primitive_attr_t);
dnnl_status_t dnnl_primitive_attr_set_scratchpad_mode(dnnl_primitive_attr_t, int mode);
dnnl_status_t dnnl_matmul_primitive_desc_create(dnnl_primitive_desc_t*, dnnl_engine_t, const struct dnnl_memory_desc* a,
                                                const struct dnnl_memory_desc* b, const struct dnnl_memory_desc* bias,
                                                const struct dnnl_memory_desc* c, const struct dnnl_primitive_attr*);
dnnl_status_t dnnl_primitive_desc_query(const struct dnnl_primitive_desc*, int what, int index, void* result);
const struct dnnl_memory_desc* dnnl_primitive_desc_query_md(const struct dnnl_primitive_desc*, int what, int index);
dnnl_status_t dnnl_primitive_desc_destroy(dnnl_primitive_desc_t);
dnnl_status_t dnnl_primitive_create(dnnl_primitive_t*, const struct dnnl_primitive_desc*);
dnnl_status_t dnnl_primitive_destroy(dnnl_primitive_t);
dnnl_status_t dnnl_primitive_execute(const struct dnnl_primitive*, dnnl_stream_t, int count, const dnnl_exec_arg_t*);
int dnnl_memory_desc_equal(const struct dnnl_memory_desc*, const struct dnnl_memory_desc*);
int dnnl_get_effective_cpu_isa(void);
const dnnl_version_t* dnnl_version(void);
const char* dnnl_status2str(int);
const char* dnnl_engine_kind2str(int);
const char* dnnl_scratchpad_mode2str(int);
const char* dnnl_dt2str(int);
const char* dnnl_fmt_tag2str(int);
const char* dnnl_cpu_isa2str(int);
}

namespace ops::onednn {

constexpr int kCpu = 1, kInOrder = 1, kUserScratchpad = 1;
constexpr int kBfloat16 = 2, kFloat32 = 3;
constexpr int kPackedTag = 384;  // BA16a64b2a: 64 columns, 32 rows, rows in pairs
constexpr int kQueryArgument = 255;
constexpr int kArgA = 1, kArgB = 33, kArgC = 17, kArgBias = 41, kArgScratchpad = 80;
constexpr int kIsaBfloat16 = 0xe7;  // avx512_core_bf16; instruction sets that hold it have all of these bits

// What the library itself calls these numbers, which it must before it is used. Those that it has no names for are held
// against it by each `Kernel` (product.cc).
struct Named {
  int number;
  const char* (*name)(int);
  const char* expected;
};
constexpr Named kNamed[] = {
    {0, dnnl_status2str, "success"},
    {kCpu, dnnl_engine_kind2str, "cpu"},
    {kUserScratchpad, dnnl_scratchpad_mode2str, "user"},
    {kBfloat16, dnnl_dt2str, "bf16"},
    {kFloat32, dnnl_dt2str, "f32"},
    {kPackedTag, dnnl_fmt_tag2str, "BA16a64b2a"},
    {kIsaBfloat16, dnnl_cpu_isa2str, "cpu_isa_avx512_core_bf16"}};

}  // namespace ops::onednn

#include "product.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "engine.h"
#include "support.h"

namespace ops {
namespace {

using namespace onednn;

// A tile of the right factor stays in a core's second cache while the rows of the left factor pass by.
constexpr int64_t kTileRows = 64, kTileColumns = 384;
constexpr size_t kMostKernels = 2048;  // some 20 kB each; shapes vary with the longest text of a batch

// Inside, what oneDNN plans is for one thread.
class SingleThread {
 public:
  SingleThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  const int before_;
};

// The product of one tile, on one thread.
class Kernel {
 public:
  Kernel(const Product& p, int64_t rows, int64_t columns) {
    const SingleThread single;
    const int type = p.precision == Precision::kFloat32 ? kFloat32 : kBfloat16;
    a_ = matrix(rows, p.k, type, p.a_stride);
    b_ = type == kFloat32 ? matrix(p.k, columns, type, p.n) : packed_matrix(p.k, columns);
    c_ = matrix(rows, columns, kFloat32, p.n);
    if (p.bias != nullptr) bias_ = matrix(1, columns, kFloat32, columns);
    const Attributes attributes = user_scratchpad();
    dnnl_primitive_desc_t plan = nullptr;
    check(dnnl_matmul_primitive_desc_create(&plan, engine(), a_.get(), b_.get(), bias_.get(), c_.get(),
                                            attributes.get()),
          "matmul");
    plan_.reset(plan);
    scratch_ = dnnl_primitive_desc_query_md(plan, kQueryScratchpad, 0);
    scratch_bytes_ = static_cast<int64_t>(dnnl_memory_desc_get_size(scratch_));
    dnnl_primitive_t primitive = nullptr;
    check(dnnl_primitive_create(&primitive, plan), "primitive_create");
    primitive_.reset(primitive);
  }

  void run(const void* a, const void* b, const float* bias, float* c) const {
    thread_local Scratch scratch;
    const std::array<Memory, 5> memories{
        memory(a_.get(), a), memory(b_.get(), b), memory(c_.get(), c),
        memory(scratch_, scratch.get<char>(scratch_bytes_)), bias_ ? memory(bias_.get(), bias) : Memory()};
    const std::array<dnnl_exec_arg_t, 5> args{{{kArgA, memories[0].get()},
                                               {kArgB, memories[1].get()},
                                               {kArgC, memories[2].get()},
                                               {kArgScratchpad, memories[3].get()},
                                               {kArgBias, memories[4].get()}}};
    check(dnnl_primitive_execute(primitive_.get(), stream(), bias_ ? 5 : 4, args.data()), "matmul");
  }

 private:
  Description a_, b_, c_, bias_;
  Plan plan_;
  const dnnl_memory_desc* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  Primitive primitive_;
};

// The kernel for tiles of so many rows and columns: made at the first request, since code is generated for it.
std::shared_ptr<const Kernel> kernel(const Product& p, int64_t rows, int64_t columns) {
  static std::mutex mutex;
  static std::map<std::array<int64_t, 7>, std::shared_ptr<const Kernel>> kernels;
  const std::array<int64_t, 7> key{rows,    columns, p.k, p.n, p.a_stride, static_cast<int64_t>(p.precision),
                                   p.bias != nullptr};
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = kernels.find(key);
  if (found != kernels.end()) return found->second;
  if (kernels.size() >= kMostKernels) kernels.clear();
  return kernels[key] = std::make_shared<const Kernel>(p, rows, columns);
}

}  // namespace

void multiply(const Product& p, const std::function<void(const Tile&)>& finish) {
  if (p.m == 0 || p.n == 0) return;
  const int64_t down = ceil_div(p.m, kTileRows), across = ceil_div(p.n, kTileColumns);
  const int64_t last_rows = p.m - (down - 1) * kTileRows, last_columns = p.n - (across - 1) * kTileColumns;
  std::array<std::shared_ptr<const Kernel>, 4> kernels;  // whole tiles, and those of the last rows and columns
  for (int i = 0; i < 4; ++i) {
    if ((i / 2 == 0 && down == 1) || (i % 2 == 0 && across == 1)) continue;
    kernels[i] = kernel(p, i / 2 ? last_rows : kTileRows, i % 2 ? last_columns : kTileColumns);
  }
  const int64_t size = p.precision == Precision::kFloat32 ? sizeof(float) : sizeof(bfloat16);
  const int64_t b_step = kTileColumns * (p.precision == Precision::kFloat32 ? 1 : round_up(p.k, kPackRows)) * size;
  parallel_for(down * across, [&](int64_t i) {
    const int64_t r = i % down, c = i / down;
    const Tile tile{r * kTileRows, r == down - 1 ? last_rows : kTileRows, c * kTileColumns,
                    c == across - 1 ? last_columns : kTileColumns};
    kernels[2 * (r == down - 1) + (c == across - 1)]->run(
        static_cast<const char*>(p.a) + tile.row * p.a_stride * size, static_cast<const char*>(p.b) + c * b_step,
        p.bias == nullptr ? nullptr : p.bias + tile.column, p.c + tile.row * p.n + tile.column);
    if (finish) finish(tile);
  });
}

bool has_bfloat16() { return (dnnl_get_effective_cpu_isa() & kIsaBfloat16) == kIsaBfloat16; }

}  // namespace ops

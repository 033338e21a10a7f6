#include "product.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "engine.h"
#include "support.h"
#include "threads.h"

namespace ops {
namespace {

using namespace onednn;

// A tile of the right factor stays in a core's second cache while the rows of the left factor pass by.
constexpr int64_t kTileRows = 64, kTileColumns = 384;
// A kernel takes 0.3 MB and a millisecond to make. The number of tokens is another one in each batch: what is over after
// whole tiles is divided into a multiple of this and a rest, so that few different kernels serve all numbers.
constexpr int64_t kRowsOfPiece = 8;
constexpr size_t kMostKernels = 512;

int64_t c_stride_of(const Product& p) { return p.c == nullptr ? kTileColumns : p.c_stride; }

// The product of one tile, on one thread.
class Kernel {
 public:
  Kernel(const Product& p, int64_t rows, int64_t columns) {
    const Threads single(1);  // what oneDNN plans is for one thread
    const int type = p.precision == Precision::kFloat32 ? kFloat32 : kBfloat16;
    a_ = matrix(rows, p.k, type, p.a_stride);
    b_ = type == kFloat32 ? matrix(p.k, columns, type, p.b_stride) : packed_matrix(p.k, columns);
    c_ = matrix(rows, columns, kFloat32, c_stride_of(p));
    if (p.bias != nullptr) bias_ = matrix(1, columns, kFloat32, columns);
    const Attributes attributes = user_scratchpad();
    dnnl_primitive_desc_t plan = nullptr;
    check(dnnl_matmul_primitive_desc_create(&plan, engine(), a_.get(), b_.get(), bias_.get(), c_.get(),
                                            attributes.get()),
          "matmul");
    plan_.reset(plan);
    const std::pair<int, const dnnl_memory_desc*> arguments[] = {
        {kArgA, a_.get()}, {kArgB, b_.get()}, {kArgC, c_.get()}, {kArgBias, bias_.get()}};
    for (const auto& [number, own] : arguments) {
      const dnnl_memory_desc* planned = dnnl_primitive_desc_query_md(plan, kQueryArgument, number);
      if (own != nullptr && (planned == nullptr || !dnnl_memory_desc_equal(planned, own))) {
        throw std::runtime_error("oneDNN: argument " + std::to_string(number) + " of a product is another");
      }
    }
    scratch_ = dnnl_primitive_desc_query_md(plan, kQueryArgument, kArgScratchpad);
    scratch_bytes_ = static_cast<int64_t>(dnnl_memory_desc_get_size(scratch_));
    dnnl_primitive_t primitive = nullptr;
    check(dnnl_primitive_create(&primitive, plan), "primitive_create");
    primitive_.reset(primitive);
  }

  void run(const void* a, const void* b, const float* bias, float* c) const {
    // oneDNN's objects for a call stay for the next tile of the thread, which mostly has the same kernel: to make them
    // for each takes a hundredth of the time of a step.
    thread_local Arguments arguments;
    if (arguments.kernel != number_) prepare(arguments);
    point(arguments.a, a);
    point(arguments.b, b);
    point(arguments.c, c);
    if (bias_) point(arguments.bias, bias);
    const std::array<dnnl_exec_arg_t, 5> args{{{kArgA, arguments.a.get()},
                                               {kArgB, arguments.b.get()},
                                               {kArgC, arguments.c.get()},
                                               {kArgScratchpad, arguments.scratchpad.get()},
                                               {kArgBias, arguments.bias.get()}}};
    check(dnnl_primitive_execute(primitive_.get(), stream(), bias_ ? 5 : 4, args.data()), "matmul");
  }

 private:
  struct Arguments {
    int64_t kernel = 0;  // number of the kernel whose they are; 0: of none
    Scratch memory;
    Memory a, b, c, bias, scratchpad;
  };

  void prepare(Arguments& arguments) const {
    arguments.kernel = 0;
    arguments.a = onednn::memory(a_.get(), nullptr);
    arguments.b = onednn::memory(b_.get(), nullptr);
    arguments.c = onednn::memory(c_.get(), nullptr);
    arguments.bias = bias_ ? onednn::memory(bias_.get(), nullptr) : Memory();
    arguments.scratchpad = onednn::memory(scratch_, arguments.memory.get<char>(scratch_bytes_));
    arguments.kernel = number_;
  }

  static int64_t next_number() {
    static std::atomic<int64_t> last{0};
    return ++last;
  }

  const int64_t number_ = next_number();
  Description a_, b_, c_, bias_;
  Plan plan_;
  const dnnl_memory_desc* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  Primitive primitive_;
};

// The kernel for tiles of so many rows and columns: made at the first request, since code is generated for it.
std::shared_ptr<const Kernel> kernel(const Product& p, int64_t rows, int64_t columns) {
  static std::mutex mutex;
  static std::map<std::array<int64_t, 8>, std::shared_ptr<const Kernel>> kernels;
  const int64_t b_stride = p.precision == Precision::kFloat32 ? p.b_stride : 0;
  const std::array<int64_t, 8> key{rows,     columns,    p.k, p.a_stride, b_stride, c_stride_of(p),
                                   static_cast<int64_t>(p.precision), p.bias != nullptr};
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = kernels.find(key);
  if (found != kernels.end()) return found->second;
  if (kernels.size() >= kMostKernels) kernels.clear();
  return kernels[key] = std::make_shared<const Kernel>(p, rows, columns);
}

// Where the tiles of `size` rows or columns begin, and the end of the last one.
std::vector<int64_t> starts_of(int64_t size, int64_t tile, int64_t piece) {
  std::vector<int64_t> starts;
  int64_t start = 0;
  for (; start + tile <= size; start += tile) starts.push_back(start);
  const int64_t pieces = (size - start) / piece * piece;
  if (pieces > 0) starts.push_back(start);
  if (start + pieces < size) starts.push_back(start + pieces);
  starts.push_back(size);
  return starts;
}

// A tile of one of several products.
struct Piece {
  const Product* product;
  Tile tile;
  std::shared_ptr<const Kernel> kernel;
};

void add_pieces(const Product& p, std::vector<Piece>& pieces) {
  if (p.m == 0 || p.n == 0) return;
  const std::vector<int64_t> rows = starts_of(p.m, kTileRows, kRowsOfPiece), columns = starts_of(p.n, kTileColumns, 1);
  for (size_t c = 0; c + 1 < columns.size(); ++c) {
    for (size_t r = 0; r + 1 < rows.size(); ++r) {
      float* const place = p.c == nullptr ? nullptr : p.c + rows[r] * p.c_stride + columns[c];
      const Tile tile{rows[r], rows[r + 1] - rows[r], columns[c], columns[c + 1] - columns[c], place, c_stride_of(p),
                      static_cast<int64_t>(r)};
      const bool same = r > 0 && pieces.back().tile.rows == tile.rows;
      pieces.push_back({&p, tile, same ? pieces.back().kernel : kernel(p, tile.rows, tile.columns)});
    }
  }
}

}  // namespace

void multiply(const std::vector<Product>& products, const std::function<void(const Tile&)>& finish) {
  std::vector<Piece> pieces;
  for (const Product& p : products) add_pieces(p, pieces);
  int64_t rows = 0;
  for (const Product& p : products) rows = std::max(rows, p.m);
  const RowThreads threads(rows);
  const auto thread_of = [&](int64_t i) { return threads.of(pieces[i].tile.row); };
  parallel_for_near(static_cast<int64_t>(pieces.size()), threads.threads(), thread_of, [&](int64_t i) {
    thread_local Scratch scratch;
    const auto& [product, place, kernel] = pieces[i];
    const Product& p = *product;
    Tile tile = place;
    if (tile.data == nullptr) tile.data = scratch.get<float>(kTileRows * kTileColumns);
    const bool packed = p.precision == Precision::kBfloat16;
    const int64_t size = packed ? sizeof(bfloat16) : sizeof(float), depth = packed ? round_up(p.k, kPackRows) : 1;
    kernel->run(static_cast<const char*>(p.a) + tile.row * p.a_stride * size,
                static_cast<const char*>(p.b) + tile.column * depth * size,
                p.bias == nullptr ? nullptr : p.bias + tile.column, tile.data);
    if (finish) finish(tile);
  });
}

int64_t bands_of(int64_t rows) {
  return static_cast<int64_t>(starts_of(rows, kTileRows, kRowsOfPiece).size()) - 1;
}

double product_seconds(int64_t m, int64_t n, int64_t k, Precision precision, int repeats) {
  const bool packed = precision == Precision::kBfloat16;
  const int64_t size = packed ? sizeof(bfloat16) : sizeof(float);
  Scratch left, right, result;
  auto *a = left.get<char>(m * k * size), *b = right.get<char>(packed ? 4 * packed_size(k, n) : k * n * size);
  std::memset(a, 0x3c, m * k * size);  // small numbers in either type
  std::memset(b, 0x3c, packed ? 4 * packed_size(k, n) : k * n * size);
  float* c = result.get<float>(m * n);
  std::vector<double> taken;
  for (int i = 0; i <= repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    multiply({{m, n, k, precision, a, k, b, n, nullptr, c, n}});
    taken.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(taken.begin() + 1, taken.end());
  return taken[1 + repeats / 2];
}

bool has_bfloat16() { return (dnnl_get_effective_cpu_isa() & kIsaBfloat16) == kIsaBfloat16; }

}  // namespace ops

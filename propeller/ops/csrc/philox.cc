#include "philox.h"

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace ops {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

// Several counters at once, a word of 32 bits in each lane of 64: `product` is what the instruction that multiplies 32 by
// 32 bits makes of the lower halves, `high` moves the upper half of a product down. Upper halves of words are arbitrary.
// Lanes hold counters in such an order that `store` finds the words of neighbours side by side; `apart` is what is added
// to the first one where they are `step` apart from each other.
#if defined(__AVX512F__)
struct Words {
  static constexpr int kLanes = 8;
  __m512i v;
  static Words all(uint64_t x) { return {_mm512_set1_epi64(static_cast<int64_t>(x))}; }
  static Words apart(uint64_t step) { return product(all(step), {_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7)}); }
  friend Words operator+(Words a, Words b) { return {_mm512_add_epi64(a.v, b.v)}; }
  friend Words product(Words a, Words b) { return {_mm512_mul_epu32(a.v, b.v)}; }
  friend Words high(Words a) { return {_mm512_srli_epi64(a.v, 32)}; }
  friend Words operator^(Words a, Words b) { return {_mm512_xor_si512(a.v, b.v)}; }
  static void store(const Words (&c)[4], const Dropout& dropout, float* out) {
    const __m512i low = _mm512_mask_blend_epi32(0xaaaa, c[0].v, _mm512_slli_epi64(c[1].v, 32));
    const __m512i upper = _mm512_mask_blend_epi32(0xaaaa, c[2].v, _mm512_slli_epi64(c[3].v, 32));
    const __m512i bits[2] = {_mm512_unpacklo_epi64(low, upper), _mm512_unpackhi_epi64(low, upper)};
    const __m512i threshold = _mm512_set1_epi32(static_cast<int>(dropout.threshold));
    for (int i = 0; i < 2; ++i) {
      const __mmask16 keep = _mm512_cmpge_epu32_mask(bits[i], threshold);
      _mm512_storeu_ps(out + 16 * i, _mm512_maskz_mov_ps(keep, _mm512_set1_ps(dropout.scale)));
    }
  }
};
#elif defined(__AVX2__)
struct Words {
  static constexpr int kLanes = 4;
  __m256i v;
  static Words all(uint64_t x) { return {_mm256_set1_epi64x(static_cast<int64_t>(x))}; }
  static Words apart(uint64_t step) { return product(all(step), {_mm256_setr_epi64x(0, 2, 1, 3)}); }
  friend Words operator+(Words a, Words b) { return {_mm256_add_epi64(a.v, b.v)}; }
  friend Words product(Words a, Words b) { return {_mm256_mul_epu32(a.v, b.v)}; }
  friend Words high(Words a) { return {_mm256_srli_epi64(a.v, 32)}; }
  friend Words operator^(Words a, Words b) { return {_mm256_xor_si256(a.v, b.v)}; }
  static void store(const Words (&c)[4], const Dropout& dropout, float* out) {
    const __m256i low = _mm256_blend_epi32(c[0].v, _mm256_slli_epi64(c[1].v, 32), 0xaa);
    const __m256i upper = _mm256_blend_epi32(c[2].v, _mm256_slli_epi64(c[3].v, 32), 0xaa);
    const __m256i bits[2] = {_mm256_unpacklo_epi64(low, upper), _mm256_unpackhi_epi64(low, upper)};
    const __m256i threshold = _mm256_set1_epi32(static_cast<int>(dropout.threshold));
    for (int i = 0; i < 2; ++i) {
      const __m256i keep = _mm256_cmpeq_epi32(_mm256_max_epu32(bits[i], threshold), bits[i]);
      _mm256_storeu_ps(out + 8 * i, _mm256_and_ps(_mm256_castsi256_ps(keep), _mm256_set1_ps(dropout.scale)));
    }
  }
};
#else
struct Words {
  static constexpr int kLanes = 1;
  uint64_t v;
  static Words all(uint64_t x) { return {x}; }
  static Words apart(uint64_t) { return {0}; }
  friend Words operator+(Words a, Words b) { return {a.v + b.v}; }
  friend Words product(Words a, Words b) { return {(a.v & 0xffffffff) * (b.v & 0xffffffff)}; }
  friend Words high(Words a) { return {a.v >> 32}; }
  friend Words operator^(Words a, Words b) { return {a.v ^ b.v}; }
  static void store(const Words (&c)[4], const Dropout& dropout, float* out) {
    for (int i = 0; i < 4; ++i) out[i] = static_cast<uint32_t>(c[i].v) < dropout.threshold ? 0.0f : dropout.scale;
  }
};
#endif

constexpr int kAtOnce = 4;  // groups of lanes: a round's products take several cycles each
constexpr int64_t kElementsAtOnce = 4 * Words::kLanes * kAtOnce;

// The factors of `kElementsAtOnce` elements, those of the counter `first` and of others, each `step` after the one before.
void block(const Dropout& dropout, uint64_t first, uint64_t step, Words apart, float* out) {
  Words c[kAtOnce][4];
  for (int i = 0; i < kAtOnce; ++i) {
    c[i][0] = Words::all(first + i * Words::kLanes * step) + apart;
    c[i][1] = high(c[i][0]);
    c[i][2] = Words::all(dropout.site);
    c[i][3] = Words::all(0);
  }
  uint32_t key0 = static_cast<uint32_t>(dropout.seed), key1 = static_cast<uint32_t>(dropout.seed >> 32);
  for (int round = 0; round < kRounds; ++round, key0 += kWeyl0, key1 += kWeyl1) {
    for (int i = 0; i < kAtOnce; ++i) {
      const Words a = product(c[i][0], Words::all(kMultiplier0)), b = product(c[i][2], Words::all(kMultiplier1));
      c[i][0] = high(b) ^ c[i][1] ^ Words::all(key0);
      c[i][1] = b;
      c[i][2] = high(a) ^ c[i][3] ^ Words::all(key1);
      c[i][3] = a;
    }
  }
  for (int i = 0; i < kAtOnce; ++i) Words::store(c[i], dropout, out + 4 * Words::kLanes * i);
}

}  // namespace

Dropout dropout_of(float probability, int64_t seed, int64_t site) {
  const double threshold = std::floor(static_cast<double>(probability) * 4294967296.0 + 0.5);
  return {static_cast<uint32_t>(std::min(threshold, 4294967295.0)),
          static_cast<float>(1.0 / (1.0 - static_cast<double>(probability))), static_cast<uint64_t>(seed),
          static_cast<uint32_t>(site)};
}

void keep_factors(const Dropout& dropout, uint64_t first, int64_t count, float* out) {
  const Words apart = Words::apart(1);
  int64_t i = 0;
  for (; i + kElementsAtOnce <= count; i += kElementsAtOnce) block(dropout, (first + i) / 4, 1, apart, out + i);
  if (i == count) return;
  float rest[kElementsAtOnce];
  block(dropout, (first + i) / 4, 1, apart, rest);
  std::copy(rest, rest + (count - i), out + i);
}

void keep_factors_apart(const Dropout& dropout, uint64_t first, int64_t step, int64_t count, float* out,
                        int64_t stride) {
  constexpr int64_t kCounters = kElementsAtOnce / 4;
  const Words apart = Words::apart(step / 4);
  float found[kElementsAtOnce];
  for (int64_t i = 0; i < count; i += kCounters) {
    block(dropout, (first + i * step) / 4, step / 4, apart, found);
    for (int64_t j = 0; j < std::min(kCounters, count - i); ++j) out[(i + j) * stride] = found[4 * j];
  }
}

}  // namespace ops

extern "C" {

// The factors of some elements, for tests.
void propeller_ops_keep_factors(float probability, int64_t seed, int64_t site, uint64_t first, int64_t count,
                                float* out) {
  ops::keep_factors(ops::dropout_of(probability, seed, site), first, count, out);
}
}

// Compiled with the flags of the kernels, and without a line that runs.
#include "backend/network.h"

namespace ernie {
namespace {

[[maybe_unused]] constexpr int kEax = 0, kEbx = 1, kEcx = 2, kEdx = 3;
[[maybe_unused]] constexpr unsigned kAvx = 0x6, kAvx512 = 0xe6;  // parts of registers that the system must keep

}  // namespace

extern const Feature kBuiltFor[] = {
#if defined(__SSE3__)
    {"sse3", 1, 0, kEcx, 0, 0},
#endif
#if defined(__SSSE3__)
    {"ssse3", 1, 0, kEcx, 9, 0},
#endif
#if defined(__SSE4_1__)
    {"sse4_1", 1, 0, kEcx, 19, 0},
#endif
#if defined(__SSE4_2__)
    {"sse4_2", 1, 0, kEcx, 20, 0},
#endif
#if defined(__SSE4A__)
    {"sse4a", 0x80000001, 0, kEcx, 6, 0},
#endif
#if defined(__POPCNT__)
    {"popcnt", 1, 0, kEcx, 23, 0},
#endif
#if defined(__MOVBE__)
    {"movbe", 1, 0, kEcx, 22, 0},
#endif
#if defined(__LZCNT__)
    {"lzcnt", 0x80000001, 0, kEcx, 5, 0},
#endif
#if defined(__BMI__)
    {"bmi1", 7, 0, kEbx, 3, 0},
#endif
#if defined(__BMI2__)
    {"bmi2", 7, 0, kEbx, 8, 0},
#endif
#if defined(__TBM__)
    {"tbm", 0x80000001, 0, kEcx, 21, 0},
#endif
#if defined(__GFNI__)
    {"gfni", 7, 0, kEcx, 8, 0},
#endif
#if defined(__AVX__)
    {"avx", 1, 0, kEcx, 28, kAvx},
#endif
#if defined(__F16C__)
    {"f16c", 1, 0, kEcx, 29, kAvx},
#endif
#if defined(__FMA__)
    {"fma", 1, 0, kEcx, 12, kAvx},
#endif
#if defined(__FMA4__)
    {"fma4", 0x80000001, 0, kEcx, 16, kAvx},
#endif
#if defined(__XOP__)
    {"xop", 0x80000001, 0, kEcx, 11, kAvx},
#endif
#if defined(__AVX2__)
    {"avx2", 7, 0, kEbx, 5, kAvx},
#endif
#if defined(__AVXVNNI__)
    {"avx_vnni", 7, 1, kEax, 4, kAvx},
#endif
#if defined(__AVX512F__)
    {"avx512f", 7, 0, kEbx, 16, kAvx512},
#endif
#if defined(__AVX512DQ__)
    {"avx512dq", 7, 0, kEbx, 17, kAvx512},
#endif
#if defined(__AVX512IFMA__)
    {"avx512ifma", 7, 0, kEbx, 21, kAvx512},
#endif
#if defined(__AVX512CD__)
    {"avx512cd", 7, 0, kEbx, 28, kAvx512},
#endif
#if defined(__AVX512BW__)
    {"avx512bw", 7, 0, kEbx, 30, kAvx512},
#endif
#if defined(__AVX512VL__)
    {"avx512vl", 7, 0, kEbx, 31, kAvx512},
#endif
#if defined(__AVX512VBMI__)
    {"avx512vbmi", 7, 0, kEcx, 1, kAvx512},
#endif
#if defined(__AVX512VBMI2__)
    {"avx512_vbmi2", 7, 0, kEcx, 6, kAvx512},
#endif
#if defined(__AVX512VNNI__)
    {"avx512_vnni", 7, 0, kEcx, 11, kAvx512},
#endif
#if defined(__AVX512BITALG__)
    {"avx512_bitalg", 7, 0, kEcx, 12, kAvx512},
#endif
#if defined(__AVX512VPOPCNTDQ__)
    {"avx512_vpopcntdq", 7, 0, kEcx, 14, kAvx512},
#endif
#if defined(__AVX512FP16__)
    {"avx512_fp16", 7, 0, kEdx, 23, kAvx512},
#endif
#if defined(__AVX512BF16__)
    {"avx512_bf16", 7, 1, kEax, 5, kAvx512},
#endif
    {nullptr, 0, 0, 0, 0, 0}};

#if defined(__AVX512BF16__)
extern const bool kMultipliesBfloat16 = true;
#else
extern const bool kMultipliesBfloat16 = false;
#endif

#if defined(__AVX512VNNI__)
extern const bool kMultipliesInt8 = true;
#else
extern const bool kMultipliesInt8 = false;
#endif

}  // namespace ernie

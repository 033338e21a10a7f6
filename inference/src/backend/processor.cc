#include "backend/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ernie {
namespace {

#if defined(__x86_64__)
constexpr unsigned kXsave = 1u << 27;  // of leaf 1, ecx: the system says what it keeps

unsigned kept_registers() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kXsave) == 0) return 0;
  __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return eax;
}

bool has(const Feature& feature, unsigned kept) {
  unsigned registers[4] = {};
  const bool is_known =
      __get_cpuid_count(feature.leaf, feature.subleaf, registers, registers + 1, registers + 2, registers + 3) != 0;
  return is_known && (registers[feature.from] >> feature.bit & 1u) != 0 && (kept & feature.kept) == feature.kept;
}
#else
// Nothing is compiled for more than all processors of the kind have, as far as is known here.
unsigned kept_registers() { return 0; }
bool has(const Feature&, unsigned) { return true; }
#endif

}  // namespace

std::string lacking(const Feature* features) {
  const unsigned kept = kept_registers();
  std::string names;
  for (; features->name != nullptr; ++features) {
    if (!has(*features, kept)) names += (names.empty() ? "" : " ") + std::string(features->name);
  }
  return names;
}

}  // namespace ernie

// What a processor must have to run what was compiled for it.
#pragma once

#include <string>

namespace ernie {

// A bit that the instruction CPUID gives, and what of its registers the system must keep for it (XCR0).
struct Feature {
  const char* name;  // as /proc/cpuinfo has it
  unsigned leaf, subleaf;
  int from;  // register: eax, ebx, ecx, edx
  int bit;
  unsigned kept;
};

// The names of those features, up to one without a name, that this processor or its system lacks, parted by spaces.
std::string lacking(const Feature* features);

}  // namespace ernie

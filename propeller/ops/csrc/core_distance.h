// How far the cores of two threads are from each other.
#pragma once

namespace ops {

// Nanoseconds until one thread sees what another one wrote, the best of a few tries: some 30 where their cores share a
// cache, 100 and more where not. -1: one core has both, or others use the cores.
double core_distance();

}  // namespace ops

// Memory for the large arrays that live for a part of a step: results of operators, and what they need to make them.
//
// Every batch has another number of tokens, so that its arrays have other sizes. Among the small things that live longer
// the C library's heap has ever fewer holes that fit: after an epoch of short texts a third of it was free and of no use.
// Here large arrays are by themselves, whole pages, the highest place first; the system is asked for pages of 2 MB, of which
// a pass over an array needs few. When a step has ended all is one hole again.
#pragma once

#include <cstddef>

namespace ops {

// At least so many bytes at the begin of a page, not initialised. What is small comes from the C library's heap, at a
// multiple of 64. Throws NoMemory.
void* take(size_t bytes);

// Gives back what `take` gave for so many bytes. The pages stay with the process, for the next one.
void give_back(void* place, size_t bytes) noexcept;

// Bytes that are taken of the pool's pages.
size_t pool_in_use();

}  // namespace ops

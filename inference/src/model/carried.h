// Input and result in one object.
#pragma once

#include "tasks/codec.h"

namespace ernie {

// The columns of a row by the names of the input, then the result. A column whose name a result of the task has is
// called `input_NAME`; what the result only repeats of the input is left out.
Json carried(const Json& cells, Json result, const Codec& codec);

}  // namespace ernie

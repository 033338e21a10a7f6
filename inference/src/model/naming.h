// Which names in a record stand for the columns of a task.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "tasks/codec.h"

namespace ernie {

using Called = std::vector<std::pair<std::string, std::string>>;  // name in the input -> name of the task

// Those among `names`: what the model learnt from first (`learnt`, object column of the task -> name, or null), then the
// names of the task itself.
Called called_in(const std::vector<std::string>& names, const Columns& columns, const Json* learnt);

// An object by the names of the task. What has such a name and stands for nothing is left out.
Json renamed(const Json& cells, const Called& called);

std::vector<std::string> names_in(const Json& object);

}  // namespace ernie

// What a process holds and does not need.
#pragma once

#include <string>

namespace ernie {

// Memory that was freed, and pages of a file that is mapped for reading, go back to the system. Where the pages are read
// again they come from the file: after weights are packed for the products, most never are.
void give_back(const std::string& mapped_file);

}  // namespace ernie

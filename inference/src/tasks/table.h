// The tasks by the names that exported models record.
#pragma once

#include <memory>

#include "model/folder.h"
#include "tasks/codec.h"

namespace ernie {

// The codec of a folder, which must outlive it. Throws UserError: the task is not known here, or what the folder says of
// it cannot be.
std::unique_ptr<Codec> make_codec(const Folder& folder);

}  // namespace ernie

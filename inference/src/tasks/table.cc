#include "tasks/table.h"

#include "errors.h"
#include "tasks/classification.h"
#include "tasks/reading.h"
#include "tasks/tagging.h"
#include "tasks/vectors.h"

namespace ernie {

std::unique_ptr<Codec> make_codec(const Folder& folder) {
  if (folder.gives_vectors) return std::make_unique<VectorCodec>(folder);
  const Json* task = folder.labels.find("task");
  const std::string name = task == nullptr ? "classification" : task->text();
  if (name == "classification") return std::make_unique<ClassificationCodec>(folder);
  if (name == "sequence_labeling") return std::make_unique<TaggingCodec>(folder);
  if (name == "mrc") return std::make_unique<ReadingCodec>(folder);
  throw bad_input(folder.path + "/labels.json", "the task " + quoted(name), "classification, sequence_labeling or mrc");
}

}  // namespace ernie

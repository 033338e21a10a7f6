#include "backend/backend.h"

#include <algorithm>

#include "errors.h"

namespace ernie {
namespace {

struct Kind {
  std::vector<std::string> formats;  // of exports that it reads
  std::unique_ptr<Backend> (*open)(const Folder&, const BackendSettings&);
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
#ifdef ERNIE_FUSED
      {{"fused"}, open_fused},
#endif
#ifdef ERNIE_OPENVINO
      {{"openvino", "onnx"}, open_openvino},
#endif
#ifdef ERNIE_PADDLE
      {{"paddle"}, open_paddle},
#endif
  };
  return all;
}

}  // namespace

std::unique_ptr<Backend> open_backend(const Folder& folder, const BackendSettings& settings) {
  std::string known;
  for (const Kind& kind : kinds()) {
    const auto& formats = kind.formats;
    if (std::find(formats.begin(), formats.end(), folder.format) != formats.end()) return kind.open(folder, settings);
    for (const std::string& format : formats) known += (known.empty() ? "" : " or ") + format;
  }
  throw bad_input(folder.path, "a model of the format " + quoted(folder.format), known + ", which this build reads", 0,
                  "ernie export MODEL --export_format " + kinds().front().formats.front() + " makes one.");
}

}  // namespace ernie

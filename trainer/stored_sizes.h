// The sizes of a model on disk, without loading it. No torch header: the config needs sizes, not types.
#pragma once

#include <optional>
#include <string>

#include "trainer/options/model_options.h"

namespace thinwire::trainer {

// path: as for load_model. Reads descriptions alone, and judges nothing: nullopt if there is none that can be
// read.
std::optional<ModelOptions> stored_sizes(const std::string& path);

}  // namespace thinwire::trainer

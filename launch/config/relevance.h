// Which keys mean something beside the other keys of a config: a method, optimiser or task reads its own
// alone.
#pragma once

#include <optional>
#include <string>

#include "trainer/options/options.h"

namespace thinwire::launch {

struct Idle {
  std::string why;      // "means nothing to outer.method = ddp"
  std::string instead;  // "leave it out, or take streaming_diloco"
};

// Nothing where the key, "outer.overlap", acts in a run of these options.
std::optional<Idle> find_idle(const std::string& key, const trainer::Options& options);

}  // namespace thinwire::launch

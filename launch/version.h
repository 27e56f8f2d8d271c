#pragma once

namespace thinwire::launch {

// Of this release: `thinwire --version`; workers of one world have the same.
constexpr const char* kVersion = "thinwire 0.1.0";

}  // namespace thinwire::launch

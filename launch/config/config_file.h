// The text of a config file.
#pragma once

#include <string>

namespace thinwire::launch {

// Throws ConfigError that says what stands at the path instead, and what may have been meant.
std::string read_config_file(const std::string& path);

}  // namespace thinwire::launch

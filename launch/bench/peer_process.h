// A peer of a benchmark that measures itself in a process of its own.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace thinwire::launch {

// Runs the command to its end and returns the object that its last line of output holds. Throws
// std::runtime_error, "who: " and its last words on the error stream, if it fails or brings none.
nlohmann::json run_peer(const std::vector<std::string>& command, const std::string& who);

}  // namespace thinwire::launch
